//! Promise: a rollback undoes the newest reload: at once while the version before stands by, else by starting it again.

mod support;

use std::time::Duration;

use support::app::{App, Fault, Release, section};
use support::clock::{expect_quick, first_answer_of};
use support::program::Ran;
use support::status::Status;
use support::world::{APP, Hitless, SOON};
use tokio::time::Instant;

const TRIES: u64 = 10;

async fn expect_version(hitless: &Hitless, version: u64) {
    let answer = hitless.get("/").await.expect_status(200);
    assert_eq!(answer.version(), Some(version), "{answer:#?}");
}

/// The verdict in the last line of `--json`.
#[track_caller]
fn expect_verdict(ran: &Ran, verdict: &str) {
    let last = ran
        .json()
        .pop()
        .unwrap_or_else(|| panic!("no line: {ran:#?}"));
    assert_eq!(last["verdict"], verdict, "{ran:#?}");
}

#[tokio::test]
async fn during_probation_it_goes_onto_the_standby_at_once() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    hitless.has_standby().await;
    expect_version(&hitless, 2).await;

    let rollback = hitless.command(&["rollback", "--json"]).await;
    let rollback = rollback.expect_status(0, "rollback");
    expect_verdict(&rollback, "live");
    expect_version(&hitless, 1).await;
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(1), "the same generation: {status}");
    assert!(!status.stale(APP), "it was asked for: {status}");
    assert_eq!(status.failovers(APP), 0, "nobody was failed over: {status}");
    hitless
        .command(&["status"])
        .await
        .expect_status(0, "status");
}

#[tokio::test]
async fn asked_twice_it_happens_once() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    hitless.has_standby().await;
    let first = hitless.command(&["rollback"]).await;
    first.expect_status(0, "the first rollback");
    let second = hitless.command(&["rollback"]).await;
    let second = second.expect_status(0, "the second rollback");
    assert!(second.stderr.contains("already there"), "{second:#?}");
    expect_version(&hitless, 1).await;
    assert_eq!(hitless.status().await.live(APP), Some(1));
}

#[tokio::test]
async fn a_reload_that_is_still_starting_is_given_up_and_told_so() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::with_options(2, &["--never-listen"]));
    let plain = tokio::spawn(hitless.command(&["reload", "--json"]));
    let asked = |trigger| move |status: &Status| status.pending(APP) == Some(trigger);
    hitless
        .wait_for("the first is asked for", SOON, asked(2))
        .await;
    let through = tokio::spawn(hitless.command(&["reload", "--through-probation"]));
    hitless
        .wait_for("the second is asked for", SOON, asked(3))
        .await;
    let rollback = hitless.command(&["rollback"]).await;
    let rollback = rollback.expect_status(0, "rollback");
    assert!(!rollback.stderr.contains("already there"), "{rollback:#?}");
    let plain = plain.await.expect("a client does not panic");
    let plain = plain.expect_status(1, "a reload that was given up");
    expect_verdict(&plain, "superseded");
    let through = through.await.expect("a client does not panic");
    let through = through.expect_status(1, "a reload that was given up");
    assert!(through.stderr.contains("given up"), "{through:#?}");
    expect_version(&hitless, 1).await;
    assert_eq!(hitless.status().await.live(APP), Some(1));
}

#[tokio::test]
async fn from_the_first_version_there_is_nowhere_to_go() {
    let hitless = Hitless::start(&App::demo()).await;
    let rollback = hitless.command(&["rollback", "--json"]).await;
    let rollback = rollback.expect_status(1, "rollback");
    expect_verdict(&rollback, "failed");
    let last = rollback.json().pop().expect("it was just read");
    assert_eq!(last["kind"], "nowhere_to_go", "{rollback:#?}");
    expect_version(&hitless, 1).await;
    let shown = hitless.command(&["status"]).await;
    assert!(shown.stdout.contains("generation 1 serves"), "{shown:#?}");
}

#[tokio::test]
async fn after_probation_the_version_before_is_started_again_from_its_own_folder() {
    let app = App::releases();
    let current = app.current().display().to_string();
    let settings = format!("directory = {current:?}\n[app.app.failover]\nprobation = \"500ms\"");
    let mut hitless = Hitless::of(&app).setting(&settings).start().await;
    expect_version(&hitless, 1).await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    expect_version(&hitless, 2).await;
    hitless
        .wait_for("the version before is stopped", SOON, |status| {
            status.standing(APP) == Some("proven") && status.generations(APP) == 1
        })
        .await;

    let rollback = hitless.command(&["rollback", "--json"]).await;
    let rollback = rollback.expect_status(0, "rollback");
    expect_verdict(&rollback, "live");
    // `current` leads to version 2 all the while: what was recorded is the folder it led to.
    expect_version(&hitless, 1).await;
    let status = hitless.status().await;
    assert_eq!(status.live(APP), Some(3), "a new generation: {status}");
}

#[tokio::test]
async fn a_start_from_changed_files_is_done_and_said() {
    let app = App::releases();
    let current = app.current().display().to_string();
    let settings = format!("directory = {current:?}\n[app.app.failover]\nprobation = 0");
    let mut hitless = Hitless::of(&app).setting(&settings).start().await;
    app.deploy(&Release::good(2));
    hitless.reload().await.expect_status(0, "reload");
    // Somebody deploys in place: another folder by the name of the one that version 1 was started in.
    let first = app.folder().join("1");
    std::fs::rename(&first, app.folder().join("old")).expect("the folder can be renamed");
    std::fs::create_dir(&first).expect("the folder can be written to");
    std::fs::write(first.join("options"), "--version=7").expect("the folder can be written to");

    let rollback = hitless.command(&["rollback"]).await;
    let rollback = rollback.expect_status(0, "rollback");
    let words = "started again from changed files";
    assert!(rollback.stderr.contains(words), "{rollback:#?}");
    expect_version(&hitless, 7).await;
    let shown = hitless.command(&["status"]).await;
    assert!(shown.stdout.contains(words), "{shown:#?}");
    let log = hitless.program().output();
    assert!(log.contains(words), "{log}");
}

#[tokio::test]
async fn a_reload_that_is_still_starting_is_abandoned() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    app.deploy(&Release::good(2).boots_for(Duration::from_secs(30)));
    let reload = tokio::spawn(hitless.command(&["reload", "--json"]));
    hitless
        .wait_for("a candidate is starting", SOON, |status| {
            status.generations_in(APP, "starting") == 1
        })
        .await;
    let began = Instant::now();
    let rollback = hitless.command(&["rollback", "--json"]).await;
    // There is no version before the one that serves, but there is one before the one that was asked for.
    let rollback = rollback.expect_status(0, "rollback");
    expect_verdict(&rollback, "live");
    assert!(began.elapsed() < SOON, "it waited for the start");
    let reload = reload.await.expect("a client does not panic");
    let told = reload
        .json()
        .iter()
        .any(|line| line["event"] == "superseded");
    assert!(told, "the caller learns of it: {reload:#?}");
    expect_version(&hitless, 1).await;
    hitless
        .wait_for("the candidate is stopped", SOON, |status| {
            status.generations(APP) == 1 && status.live(APP) == Some(1)
        })
        .await;
}

#[tokio::test]
async fn from_the_command_to_the_first_answer_of_the_old_version_no_timer_runs() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let mut times = Vec::new();
    for version in 2..2 + TRIES {
        app.deploy(&Release::good(version));
        hitless.reload().await.expect_status(0, "reload");
        hitless.has_standby().await;
        expect_version(&hitless, version).await;
        let asked = Instant::now();
        let path = format!("/v1/apps/{APP}/rollback");
        let (rollback, answered) = tokio::join!(
            hitless.control_request("POST", &path),
            first_answer_of(1, &hitless)
        );
        rollback.expect("it can be asked").expect_status(200);
        times.push(answered - asked);
    }
    expect_quick("from the command to the first answer", times);
}

#[tokio::test]
async fn of_several_apps_only_those_go_back_that_the_newest_reload_has_led_elsewhere() {
    let (shop, wiki) = (App::demo(), App::demo());
    let route = |name: &str| format!("route = [{{ path = \"/{name}\" }}]");
    let file = format!(
        "listen = [\"127.0.0.1:0\"]\n{}{}",
        section("shop", &shop, &route("shop")),
        section("wiki", &wiki, &route("wiki"))
    );
    let mut hitless = Hitless::with_file(&file).begin().await;
    hitless.all_live(&["shop", "wiki"]).await;
    let live = async |hitless: &Hitless| {
        let status = hitless.status().await;
        (status.live("shop"), status.live("wiki"))
    };
    // Nothing was reloaded so far.
    let ran = hitless.command(&["rollback"]).await;
    let ran = ran.expect_status(1, "nothing");
    assert!(ran.stderr.contains("nothing was rolled back"), "{ran:#?}");

    hitless.command(&["reload"]).await.expect_status(0, "all");
    hitless
        .command(&["reload", "shop"])
        .await
        .expect_status(0, "shop");
    assert_eq!(live(&hitless).await, (Some(3), Some(2)));
    let ran = hitless.command(&["rollback"]).await;
    let ran = ran.expect_status(0, "rollback");
    assert!(!ran.stderr.contains("wiki"), "{ran:#?}");
    assert_eq!(live(&hitless).await, (Some(2), Some(2)));

    // One of two fails: the other one is undone.
    wiki.deploy(&Release::broken(2, Fault::DiesAtStart));
    hitless.command(&["reload"]).await.expect_status(1, "all");
    let ran = hitless.command(&["rollback"]).await;
    ran.expect_status(0, "rollback");
    assert_eq!(live(&hitless).await, (Some(2), Some(2)));
    // And what failed as a whole has nothing to be undone.
    hitless
        .command(&["reload", "wiki"])
        .await
        .expect_status(1, "wiki");
    let ran = hitless.command(&["rollback"]).await;
    ran.expect_status(1, "nothing");
    assert_eq!(live(&hitless).await, (Some(2), Some(2)));
}
