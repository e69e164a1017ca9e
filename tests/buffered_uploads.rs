//! Promise: with `buffer_requests`, the app's death loses no upload that it had not received whole.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::app::{App, End, Fault, Release};
use support::load::{Load, RATE};
use support::record::Kind;
use support::world::{APP, Hitless, SOON};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const HALF: usize = 50 * 1024;

/// An upload whose client has sent one half and takes its time with the other.
async fn half_an_upload(hitless: &Hitless) -> TcpStream {
    let mut stream = TcpStream::connect(hitless.address())
        .await
        .expect("it listens");
    let length = HALF * 2;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: app.example\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.write_all(&half()).await.expect("it reads");
    stream
}

fn half() -> Bytes {
    Bytes::from(vec![b'x'; HALF])
}

/// Sends the other half; the whole answer.
async fn finish(mut stream: TcpStream) -> String {
    stream.write_all(&half()).await.expect("it reads on");
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let read = read.unwrap_or_else(|_| panic!("not answered whole: {answer:?}"));
    read.unwrap_or_else(|error| panic!("{error} after {answer:?}"));
    answer
}

async fn uploads_survive(app: &App) {
    let mut hitless = Hitless::of(app)
        .setting("buffer_requests = \"1MiB\"")
        .start()
        .await;
    let load = Load::start(hitless.address()).await;
    load.answers(200).await;
    let dies = Fault::Ends(End::Exits, Duration::from_secs(2));
    app.deploy(&Release::broken(2, dies));
    let reload = load.during("the reload", hitless.reload()).await;
    reload.expect_status(0, "a reload to a version that exits later");
    let mut uploads = Vec::new();
    for _ in 0..8 {
        uploads.push(half_an_upload(&hitless).await);
    }
    let what = "the new version is taken back";
    let taken_back = hitless.wait_for(what, SOON, |status| status.failovers(APP) == 1);
    load.during("the failover", taken_back).await;
    for upload in uploads {
        let answer = finish(upload).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.to_ascii_lowercase().contains("\r\nx-version: 1\r\n"),
            "{answer}"
        );
    }
    load.answers(200).await;
    let record = load.stop().await;
    record.show();
    record.expect_rate(RATE);
    // One upload may have reached the dying app whole, and the one download may have begun.
    record.expect_failed_only(&[Kind::Upload, Kind::Download], 2);
}

#[tokio::test]
async fn uploads_survive_an_exit() {
    uploads_survive(&App::demo()).await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn uploads_survive_the_exit_of_a_tornado() {
    uploads_survive(&App::tornado()).await;
}
