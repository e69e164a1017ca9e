//! Promise: nobody notices a reload. No request fails, no client connection is closed, no older version answers after
//! a newer one, and hitless adds no time that anybody would feel.

mod support;

use std::time::Duration;

use support::app::{App, Release};
use support::load::{Load, RATE};
use support::record::Record;
use support::world::{APP, Hitless};

/// How many answers make a quiet time to compare with: some three seconds.
const QUIET: usize = 600;

/// Reloads by turns of one kind while the load runs; each deploy is the next version.
struct Deploys<'a> {
    app: &'a App,
    load: &'a Load,
    hitless: &'a mut Hitless,
    version: u64,
}

impl Deploys<'_> {
    fn deploy(&mut self, boot: Duration) {
        self.version += 1;
        let release = Release::good(self.version).boots_for(boot);
        self.app.deploy(&release);
    }

    async fn by_command(&mut self, count: usize, boot: Duration) {
        for _ in 0..count {
            self.deploy(boot);
            let what = format!("reload to {} by command", self.version);
            let reload = self.load.during(&what, self.hitless.reload()).await;
            reload.expect_status(0, &what);
            self.is_served().await;
        }
    }

    async fn by_signal(&mut self, count: usize, boot: Duration) {
        for _ in 0..count {
            self.deploy(boot);
            let what = format!("reload to {} by HUP", self.version);
            self.load
                .during(&what, self.hitless.reload_by_signal())
                .await;
            self.is_served().await;
        }
    }

    /// The verdict is true: who asks after it gets the new version. Some quiet afterwards.
    async fn is_served(&self) {
        let answer = self.hitless.get("/").await.expect_status(200);
        assert_eq!(
            answer.version(),
            Some(self.version),
            "after its verdict: {answer:#?}"
        );
        self.load.answers(100).await;
    }
}

fn expect_nobody_noticed(record: &Record, newest: u64) {
    record.show();
    record.expect_unnoticed();
    assert_eq!(record.newest_version(), Some(newest), "{record}");
    record.expect_rate(RATE);
    record.expect_reloads_unfelt();
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn twenty_three_reloads_of_tornado_under_mixed_load_are_noticed_by_nobody() {
    let app = App::tornado();
    let mut hitless = Hitless::start(&app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(QUIET).await;
    let mut deploys = Deploys {
        app: &app,
        load: &load,
        hitless: &mut hitless,
        version: 1,
    };
    deploys.by_signal(10, Duration::from_millis(300)).await;
    deploys.by_command(10, Duration::from_millis(300)).await;
    deploys.by_command(3, Duration::from_secs(3)).await;
    let newest = deploys.version;
    load.answers(QUIET).await;
    expect_nobody_noticed(&load.stop().await, newest);
}

#[tokio::test]
async fn reloads_under_mixed_load_are_noticed_by_nobody() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(QUIET).await;
    let mut deploys = Deploys {
        app: &app,
        load: &load,
        hitless: &mut hitless,
        version: 1,
    };
    deploys.by_signal(2, Duration::from_millis(300)).await;
    deploys.by_command(3, Duration::from_millis(300)).await;
    let newest = deploys.version;
    expect_nobody_noticed(&load.stop().await, newest);
}

/// Five deploys at intervals shorter than a start: five verdicts, the last one live.
async fn five_triggers_at_once(app: &App) {
    let hitless = Hitless::start(app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(QUIET).await;

    let mut every = tokio::time::interval(Duration::from_millis(100));
    let reloads = async {
        let mut reloads = Vec::new();
        for version in 2..=6 {
            every.tick().await;
            app.deploy(&Release::good(version).boots_for(Duration::from_millis(300)));
            let reload = hitless.command(&["reload", "--json"]);
            reloads.push(tokio::spawn(reload));
        }
        let mut ended = Vec::new();
        for reload in reloads {
            ended.push(reload.await.expect("a client does not panic"));
        }
        ended
    };
    let reloads = load.during("five triggers", reloads).await;

    for (index, reload) in reloads.into_iter().enumerate() {
        // A superseded caller waits for the newer one, which is live in the end.
        let reload = reload.expect_status(0, &format!("trigger {}", index + 1));
        let verdict = reload.json().pop();
        let verdict = verdict.unwrap_or_else(|| panic!("no verdict: {reload:#?}"));
        assert_eq!(
            verdict["verdict"],
            "live",
            "the last line of trigger {}: {reload:#?}",
            index + 1
        );
    }
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(6), "{answer:#?}");
    let status = hitless.status().await;
    assert!(!status.stale(APP), "{status}");
    load.answers(200).await;
    let record = load.stop().await;
    record.expect_unnoticed();
    record.expect_rate(RATE);

    let metrics = hitless.metrics().await;
    let verdicts = metrics.sum(
        "hitless_reloads_total",
        &[("app", APP), ("trigger", "command")],
    );
    assert_eq!(verdicts, 5.0, "one verdict a trigger: {}", metrics.0);
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn five_triggers_of_tornado_in_half_a_second_get_five_verdicts_and_the_last_is_live() {
    five_triggers_at_once(&App::tornado()).await;
}

#[tokio::test]
async fn five_triggers_in_half_a_second_get_five_verdicts_and_the_last_is_live() {
    five_triggers_at_once(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_hello_world_of_tornado_needs_no_change_at_all() {
    let hitless = Hitless::start(&App::tornado_hello()).await;
    hitless.reload().await.expect_status(0, "reload");
    assert_eq!(
        hitless.get("/").await.expect_status(200).text(),
        "Hello, world"
    );
}

#[tokio::test]
async fn a_download_that_began_before_a_reload_is_finished_by_the_version_that_began_it() {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let address = hitless.address();
    let download = async move {
        let request = support::client::get("/stream?chunks=20&ms=100");
        support::client::fetch(address, request).await
    };
    let reload = async {
        app.deploy(&Release::good(2));
        hitless.reload().await.expect_status(0, "reload");
        hitless.get("/").await.version()
    };
    let (download, version) = tokio::join!(download, reload);
    let lines: String = (0..20).map(|index| format!("{index} 1\n")).collect();
    assert_eq!(download.expect_status(200).text(), lines);
    assert_eq!(version, Some(2), "the new version serves others meanwhile");
}
