//! Promise: clients that others have written notice no reload: `wrk`, which counts errors at full speed, and aiohttp.

mod support;

use std::path::Path;
use std::time::Duration;

use support::app::{App, Release, python};
use support::program::{Ran, run};
use support::world::Hitless;

/// Five reloads while a program runs against hitless.
async fn reloads_beside(program: &Path, arguments: impl Fn(&str) -> Vec<String>) -> Ran {
    let app = App::demo();
    let hitless = Hitless::start(&app).await;
    let url = format!("http://{}", hitless.address());
    let arguments = arguments(&url);
    let reloads = async {
        for version in 2..7 {
            app.deploy(&Release::good(version));
            hitless
                .command(&["reload"])
                .await
                .expect_status(0, "reload");
        }
    };
    let client = run(program, &arguments, &[], Duration::from_secs(60));
    let (ran, ()) = tokio::join!(client, reloads);
    ran
}

#[tokio::test]
#[ignore = "needs wrk: run tests/run"]
async fn wrk_counts_no_error() {
    let ran = reloads_beside(Path::new("wrk"), |url| {
        let options = ["-t", "1", "-c", "32", "-d", "3s", "--latency"];
        let options = options.iter().map(|&option| option.to_owned());
        options.chain([url.to_owned()]).collect()
    });
    let ran = ran.await.expect_status(0, "wrk");
    assert!(ran.stdout.contains("requests in"), "{ran:#?}");
    assert!(!ran.stdout.contains("Socket errors"), "{ran:#?}");
    assert!(!ran.stdout.contains("Non-2xx"), "{ran:#?}");
}

#[tokio::test]
#[ignore = "needs aiohttp: run tests/run"]
async fn aiohttp_loses_no_request_and_no_byte() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/aiohttp_client.py");
    let python = python();
    let ran = reloads_beside(&python, |url| {
        vec![program.display().to_string(), url.to_owned()]
    });
    let ran = ran.await.expect_status(0, "the client");
    assert!(ran.stdout.contains("0 failed"), "{ran:#?}");
}
