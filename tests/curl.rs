//! Promise: curl, the client that everybody has, notices no proxy in between.

mod support;

use std::path::Path;
use std::time::Duration;

use support::app::App;
use support::program::{Ran, run};
use support::raw::{Message, start};
use support::world::Hitless;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs curl with what the answer is to be judged by at the end of its output.
async fn curl(arguments: &[&str]) -> Ran {
    let fixed = [
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--write-out",
        "\n%{http_code} %{http_version} %{size_upload}",
    ];
    let all = fixed.iter().chain(arguments);
    run(Path::new("curl"), all, &[], Duration::from_secs(40)).await
}

/// A file of so many bytes for curl to send.
fn file(app: &App, bytes: usize) -> String {
    let path = app.folder().join("upload");
    std::fs::write(&path, vec![b'x'; bytes]).expect("the folder can be written to");
    path.display().to_string()
}

#[track_caller]
fn ends(ran: &Ran, end: &str) {
    assert!(ran.stdout.ends_with(end), "not {end:?} but {ran:#?}");
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn curl_uploads_with_and_without_asking_first() {
    const LARGE: usize = 3_000_000;
    for expect in ["answer", "forward"] {
        let app = App::demo();
        let file = file(&app, LARGE);
        let hitless = Hitless::of(&app)
            .setting(&format!("expect = \"{expect}\""))
            .start()
            .await;
        let url = format!("http://{}/upload", hitless.address());
        for further in [
            &["--header", "Expect: 100-continue"][..],
            &["--header", "Expect:"],
            &["--header", "Transfer-Encoding: chunked"],
        ] {
            let mut arguments = vec!["--upload-file", &file, &url];
            arguments.extend_from_slice(further);
            let ran = curl(&arguments).await.expect_status(0, "curl");
            assert!(ran.stdout.contains("\"length\":3000000"), "{ran:#?}");
            assert!(ran.stdout.contains("\n200 1.1 "), "{ran:#?}");
        }
        let ran = curl(&["--http1.0", "--upload-file", &file, &url]).await;
        assert!(ran.stdout.contains("\"length\":3000000"), "{ran:#?}");
    }
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn curl_keeps_its_connection_and_its_trailers() {
    let hitless = Hitless::start(&App::demo()).await;
    let url = |path: &str| format!("http://{}{path}", hitless.address());
    let (one, two) = (url("/headers"), url("/stream?chunks=3&ms=1"));
    let ran = curl(&["--verbose", &one, &two])
        .await
        .expect_status(0, "curl");
    assert!(
        ran.stderr.contains("Re-using existing connection"),
        "{ran:#?}"
    );
    let ran = curl(&["--head", &one]).await.expect_status(0, "curl");
    ends(&ran, "200 1.1 0");
    let ran = curl(&["--http1.0", &two]).await.expect_status(0, "curl");
    assert!(ran.stdout.contains("2 1\n"), "{ran:#?}");
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn curl_gets_413_before_it_has_sent_what_is_too_large() {
    const LARGE: usize = 50_000_000;
    let app = App::demo();
    let file = file(&app, LARGE);
    let hitless = Hitless::of(&app)
        .setting("body_bytes_max = \"1MiB\"")
        .start()
        .await;
    let url = format!("http://{}/upload", hitless.address());
    // It asks first, and sends nothing at all.
    let ask = [
        "--header",
        "Expect: 100-continue",
        "--upload-file",
        &file,
        &url,
    ];
    let ran = curl(&ask).await.expect_status(0, "curl");
    ends(&ran, "\n413 1.1 0");
    let chunks = [
        "--header",
        "Transfer-Encoding: chunked",
        "--header",
        "Expect:",
    ];
    let mut tell = chunks.to_vec();
    tell.extend(["--upload-file", &file, &url]);
    let ran = curl(&tell).await.expect_status(0, "curl");
    assert!(ran.stdout.contains("\n413 1.1 "), "{ran:#?}");
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn curl_shows_hints_and_the_answer_after_them() {
    let (hitless, listener) = start("early_hints = true").await;
    let app = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let mut bytes = Vec::new();
            while Message::read(&bytes).is_none() {
                if stream
                    .read_buf(&mut bytes)
                    .await
                    .is_ok_and(|length| length > 0)
                {
                    continue;
                }
                break;
            }
            let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
                           HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            drop(stream.write_all(answer).await);
        }
    });
    let url = format!("http://{}/", hitless.address());
    let ran = curl(&["--include", &url]).await.expect_status(0, "curl");
    app.abort();
    let hint = ran
        .stdout
        .find("103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200");
    assert!(hint.is_some(), "{ran:#?}");
    ends(&ran, "hello\n200 1.1 0");
}
