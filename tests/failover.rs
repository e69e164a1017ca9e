//! Promise: a version that turns out bad after it went live is taken back by itself, before users notice, and whoever
//! deployed it is told why.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use support::app::{App, End, Fault, Release};
use support::client::Answer;
use support::load::{Load, RATE};
use support::record::{Kind, Record};
use support::world::{APP, Builder, Hitless, SOON};
use tokio::time::Instant;

/// Until a version with a fault breaks.
const BREAKS_AFTER: Duration = Duration::from_secs(2);

/// What cannot be saved when a process dies: uploads under way (there are four lanes of them), and answers that have
/// begun (one download).
const LOST_MAX: usize = 5;

/// Waits until a version was taken back; when that was seen.
async fn taken_back(hitless: &mut Hitless, within: Duration) -> Instant {
    let what = "the new version is taken back";
    hitless
        .wait_for(what, within, |status| status.failovers(APP) == 1)
        .await;
    Instant::now()
}

/// It serves again what served before, and says so everywhere.
async fn expect_failed_over(hitless: &mut Hitless, kind: &str) {
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(1), "{answer:#?}");
    let status = hitless.status().await;
    assert_eq!(status.failovers(APP), 1, "once, and for good: {status}");
    assert_eq!(status.last_failover(APP, "kind"), kind, "{status}");
    assert_eq!(status.last_failover(APP, "from"), "2", "{status}");
    assert_eq!(status.last_failover(APP, "to"), "1", "{status}");
    assert!(status.stale(APP), "{status}");
    let output = status.last_failover(APP, "output");
    assert_ne!(output, "[]", "its last words: {status}");

    let reason = status.last_failover(APP, "reason");
    let shown = hitless.command(&["status"]).await;
    let shown = shown.expect_status(1, "status while stale");
    for word in ["app: STALE", reason.as_str()] {
        assert!(shown.stdout.contains(word), "no {word:?} in {shown:#?}");
    }
    let metrics = hitless.metrics().await;
    let counted = metrics.sum("hitless_failovers_total", &[("app", APP), ("reason", kind)]);
    assert_eq!(counted, 1.0, "{}", metrics.0);
    assert_eq!(metrics.sum("hitless_stale", &[("app", APP)]), 1.0);

    let gone = "nothing of the bad version is left";
    let alone = |status: &support::status::Status| status.generations(APP) == 1;
    let status = hitless.wait_for(gone, SOON, alone).await;
    assert_eq!(status.live(APP), Some(1), "{status}");
}

// === dying after going live ===

/// A version goes live and ends: what the clients of the mixed load saw.
async fn dies_under_load(app: &App, end: End, settings: Builder) -> Record {
    let mut hitless = settings.start().await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    app.deploy(&Release::broken(2, Fault::Ends(end, BREAKS_AFTER)));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "a reload to a version that breaks later");
    let back = load
        .during("the failover", taken_back(&mut hitless, SOON))
        .await;
    load.answers(400).await;
    expect_failed_over(&mut hitless, "exited").await;
    let record = load.stop().await;
    record.show();
    record.expect_rate(RATE);
    record.expect_none_failed_after(back);
    record.expect_no_answer_of(2, back);
    record.expect_losses_told();
    record.expect_none_closed(Kind::Kept);
    record.expect_none_closed(Kind::Slow);
    record
}

async fn loses_little_when_it(end: End, app: &App) {
    let record = dies_under_load(app, end, Hitless::of(app)).await;
    record.expect_failed_only(&[Kind::Upload, Kind::Download], LOST_MAX);
}

#[tokio::test]
async fn a_version_that_exits_is_taken_back() {
    loses_little_when_it(End::Exits, &App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_exits_is_taken_back() {
    loses_little_when_it(End::Exits, &App::tornado()).await;
}

#[tokio::test]
async fn a_version_that_is_killed_is_taken_back() {
    loses_little_when_it(End::IsKilled, &App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_is_killed_is_taken_back() {
    loses_little_when_it(End::IsKilled, &App::tornado()).await;
}

#[tokio::test]
async fn a_version_that_segfaults_is_taken_back() {
    loses_little_when_it(End::Segfaults, &App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_segfaults_is_taken_back() {
    loses_little_when_it(End::Segfaults, &App::tornado()).await;
}

// === answering 500 ===

async fn answers_500_under_load(app: &App) {
    let mut hitless = Hitless::start(app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(400).await;
    app.deploy(&Release::broken(2, Fault::FailsTraffic(500)));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "a reload to a version that passes the check");
    let back = load
        .during("the failover", taken_back(&mut hitless, SOON))
        .await;
    load.answers(400).await;
    expect_failed_over(&mut hitless, "error_ratio").await;
    let record = load.stop().await;
    record.show();
    record.expect_rate(RATE);
    record.expect_failed_only(&[Kind::Upload], 3);
    record.expect_none_failed_after(back);
    record.expect_no_answer_of(2, back);
}

#[tokio::test]
async fn a_version_that_answers_500_is_taken_back() {
    answers_500_under_load(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_answers_500_is_taken_back() {
    answers_500_under_load(&App::tornado()).await;
}

/// GETs at this pace, none of which may fail: what answered.
async fn gets(hitless: &Hitless, count: usize, every: Duration) -> Vec<Answer> {
    let mut ticks = tokio::time::interval(every);
    let mut answers = Vec::new();
    for _ in 0..count {
        ticks.tick().await;
        answers.push(hitless.get("/").await.expect_status(200));
    }
    answers
}

#[tokio::test]
async fn at_one_request_a_second_it_is_taken_back_as_well() {
    let app = App::demo();
    let mut hitless = Hitless::of(&app)
        .setting("[app.app.failover]\nmin_requests = 5")
        .start()
        .await;
    app.deploy(&Release::broken(2, Fault::FailsTraffic(500)));
    hitless.reload().await.expect_status(0, "reload");
    gets(&hitless, 5, Duration::from_secs(1)).await;
    taken_back(&mut hitless, SOON).await;
    expect_failed_over(&mut hitless, "error_ratio").await;
}

#[tokio::test]
async fn at_one_request_in_five_seconds_the_probation_is_prolonged_and_says_so() {
    let app = App::demo();
    let hitless = Hitless::of(&app)
        .setting("[app.app.failover]\nprobation = \"3s\"")
        .start()
        .await;
    app.deploy(&Release::broken(2, Fault::FailsTraffic(500)));
    hitless.reload().await.expect_status(0, "reload");
    let answers = gets(&hitless, 2, Duration::from_secs(5)).await;
    // The second one came after the time of the probation.
    for answer in answers {
        assert_eq!(
            answer.version(),
            Some(1),
            "rescued by the standby: {answer:#?}"
        );
    }
    let status = hitless.status().await;
    assert_eq!(status.standing(APP), Some("probation"), "{status}");
    assert_eq!(status.failovers(APP), 0, "too little to judge by: {status}");
    let remark = status.remark(APP).unwrap_or_default().to_owned();
    assert!(!remark.is_empty(), "it says why it is undecided: {status}");
    let shown = hitless.command(&["status"]).await;
    assert!(shown.stdout.contains(&remark), "{shown:#?}");
}

#[tokio::test]
async fn what_both_versions_fail_at_takes_nothing_back() {
    let app = App::demo();
    database_that_goes_down(&app).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn what_both_versions_of_a_tornado_fail_at_takes_nothing_back() {
    let app = App::tornado();
    database_that_goes_down(&app).await;
}

async fn database_that_goes_down(app: &App) {
    let down: PathBuf = app.folder().join("database-is-down");
    let version = |number| Release::broken(number, Fault::FailsWhile(down.clone()));
    app.deploy(&version(1));
    let mut hitless = Hitless::start(app).await;
    gets(&hitless, 50, Duration::from_millis(10)).await;
    app.deploy(&version(2));
    hitless.reload().await.expect_status(0, "reload");
    hitless.has_standby().await;

    std::fs::write(&down, "").expect("the folder can be written to");
    for _ in 0..100 {
        hitless.get("/").await.expect_status(500);
    }
    let said = "it says that the version before fails in the same way";
    let status = hitless
        .wait_for(said, SOON, |status| status.remark(APP).is_some())
        .await;
    assert_eq!(status.failovers(APP), 0, "{status}");
    assert_eq!(status.live(APP), Some(2), "{status}");
    assert!(!status.stale(APP), "{status}");

    std::fs::remove_file(&down).expect("it is there");
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(2), "{answer:#?}");
}

// === hanging, refusing ===

async fn hangs_under_load(app: &App) {
    // Bounds what an upload waits for that nobody may send again.
    let mut hitless = Hitless::of(app)
        .setting("answer_timeout = \"12s\"\n[app.app.drain]\ntimeout = \"12s\"")
        .start()
        .await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    app.deploy(&Release::broken(2, Fault::Hangs(Duration::from_secs(1))));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "a reload to a version that hangs later");
    // A second until it hangs, then at most ten.
    let within = Duration::from_secs(11);
    let back = load
        .during("the failover", taken_back(&mut hitless, within))
        .await;
    load.answers(400).await;
    expect_failed_over(&mut hitless, "unready").await;
    let record = load.stop().await;
    record.show();
    record.expect_failed_only(&[Kind::Upload], 4);
    record.expect_none_failed_after(back);
    record.expect_no_answer_of(2, back);
}

#[tokio::test]
async fn a_version_that_hangs_is_taken_back() {
    hangs_under_load(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn a_tornado_that_hangs_is_taken_back() {
    hangs_under_load(&App::tornado()).await;
}

#[tokio::test]
async fn a_version_that_listens_no_more_is_taken_back() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    let closes = ["--close-listener-after=1s"];
    app.deploy(&Release::with_options(2, &closes));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "a reload to a version that stops listening later");
    let back = load
        .during("the failover", taken_back(&mut hitless, SOON))
        .await;
    load.answers(400).await;
    expect_failed_over(&mut hitless, "connect_failures").await;
    let record = load.stop().await;
    record.show();
    // Nothing was written to what refuses connections, so that all of it could be sent again.
    record.expect_none_failed();
    record.expect_no_answer_of(2, back);
}
