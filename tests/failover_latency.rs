//! Promise: a failover takes no time that anybody would notice. Alone in its program, for a busy neighbour is noticed.

mod support;

use rustix::process::Signal;
use support::app::{App, Release};
use support::clock::{expect_quick, first_answer_of};
use support::processes;
use support::world::{APP, Hitless};
use tokio::time::Instant;

const TRIES: u64 = 10;

#[tokio::test]
async fn from_the_exit_to_the_first_answer_of_the_old_version_no_timer_runs() {
    let app = App::demo();
    let mut hitless = Hitless::start(&app).await;
    let mut times = Vec::new();
    for version in 2..2 + TRIES {
        app.deploy(&Release::good(version));
        hitless.reload().await.expect_status(0, "reload");
        let status = hitless.has_standby().await;
        assert_eq!(hitless.get("/").await.version(), Some(version));
        let killed = Instant::now();
        processes::send(status.live_pid(APP), Signal::KILL);
        times.push(first_answer_of(1, &hitless).await - killed);
    }
    expect_quick("from the exit to the first answer", times);
}
