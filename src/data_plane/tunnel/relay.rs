//! Both directions of a tunnel, and how they end together.
//!
//! ```text
//!   passing --app ended, or told to close--> the frame to the client is finished, and a Close follows it
//!      |                                       |
//!      |                                     the client's own Close goes to the app, or one of ours does
//!      v                                       |
//!   both ended, or the client is gone          v
//!                                            both sides are ended, and listened to for a moment
//! ```

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, sink};
use tokio::time::{Sleep, sleep, timeout};

use super::closing::CloseCode;
use super::way::{Passed, Until, Way};

/// How long a client may take to answer a Close, and either side for each step after that.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// How long a client that has not answered may take to end the frame that it is in the middle of.
const FRAME_LIMIT: Duration = Duration::from_secs(3);

/// Who is told of the bytes that pass.
pub(super) trait Counted {
    /// So many bytes came from the client.
    fn client_sent(&self, bytes: u64);
    /// So many bytes came from the app.
    fn app_sent(&self, bytes: u64);
}

/// Both directions.
pub(super) struct Relay<'a, C, A, N> {
    client: C,
    app: A,
    up: Way,
    down: Way,
    /// What has become of the direction to the app.
    rising: Rising,
    /// The app has ended its side.
    app_ended: bool,
    counted: &'a N,
}

/// The direction to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rising {
    /// More may come.
    Open,
    /// All that the client sends has been passed on.
    Ended,
    /// The app takes nothing any more.
    AppGone,
}

/// How the passing on has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The client has to be told that it is over.
    Close,
    /// There is no client to be told anything.
    ClientGone,
    /// The client has taken nothing for too long.
    ClientStalled,
}

// === impl Relay ===

impl<'a, C, A, N> Relay<'a, C, A, N>
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: AsyncRead + AsyncWrite + Unpin,
    N: Counted,
{
    /// Between these two, of which this was read already.
    pub(super) fn new(client: (C, Bytes), app: (A, Bytes), counted: &'a N) -> Self {
        counted.client_sent(client.1.len() as u64);
        counted.app_sent(app.1.len() as u64);
        Self {
            client: client.0,
            app: app.0,
            up: Way::new(client.1),
            down: Way::new(app.1),
            rising: Rising::Open,
            app_ended: false,
            counted,
        }
    }

    /// The client's side, to be dealt with otherwise.
    pub(super) fn into_client(self) -> C {
        self.client
    }

    /// Passes bytes on in both directions, and the end of the client's as well: the app may go on answering.
    pub(super) async fn pass(&mut self, write_timeout: Duration) -> Turn {
        let mut stall = Stall::new(write_timeout);
        let mut app_gone: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if self.rising == Rising::Open {
                match self.poll_up(cx, Until::End) {
                    Poll::Ready(Passed::SenderGone) => return Poll::Ready(Turn::ClientGone),
                    Poll::Ready(_) if self.rising == Rising::AppGone => {
                        // It may have said something before it went.
                        app_gone = Some(Box::pin(sleep(CLOSE_LIMIT)));
                    }
                    Poll::Ready(_) | Poll::Pending => {}
                }
            }
            match self.poll_down(cx, Until::End) {
                Poll::Ready(Passed::ReceiverGone) => return Poll::Ready(Turn::ClientGone),
                Poll::Ready(_) => return Poll::Ready(Turn::Close),
                Poll::Pending => {}
            }
            if stall.poll(cx, &self.down).is_ready() {
                return Poll::Ready(Turn::ClientStalled);
            }
            match &mut app_gone {
                Some(sleep) => sleep.as_mut().poll(cx).map(|()| Turn::Close),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Ends it: tells the client with `code` once the frame that it is getting is whole, unless the app has told it, and the
    /// app when the client has not. When `hurried` is there, frames are waited for no longer than a moment.
    pub(super) async fn close(mut self, code: CloseCode, hurried: impl Future<Output = ()>) {
        let hurry = async {
            hurried.await;
            sleep(CLOSE_LIMIT).await;
        };
        let told = tokio::select! {
            told = self.tell(code) => told,
            () = hurry => false,
        };
        if told {
            let answer = self.hear(Until::Close);
            if timeout(CLOSE_LIMIT, answer).await.is_err() && !self.up.at_boundary() {
                let _ = timeout(FRAME_LIMIT, self.hear(Until::Frame)).await;
            }
        }
        self.tell_app(code).await;
        self.part().await;
    }

    /// Ends the frame that the client is getting, and writes a Close.
    async fn tell(&mut self, code: CloseCode) -> bool {
        let ended = poll_fn(|cx| {
            let _ = self.poll_up(cx, Until::Close);
            if self.app_ended {
                Poll::Ready(Passed::Ended)
            } else {
                self.poll_down(cx, Until::Frame)
            }
        })
        .await;
        if ended == Passed::ReceiverGone {
            return false;
        }
        if self.down.at_boundary() && !self.down.has_closed() {
            self.down.add(code.to_client());
        }
        let written = poll_fn(|cx| {
            let _ = self.poll_up(cx, Until::Close);
            self.down.poll_flush(cx, &mut self.client)
        });
        written.await.is_ok()
    }

    /// Passes on what the client still sends, as far as that, and drops what the app does.
    async fn hear(&mut self, until: Until) {
        poll_fn(|cx| {
            if self.rising != Rising::Open || self.poll_up(cx, until).is_ready() {
                return Poll::Ready(());
            }
            // An app that nobody reads from might not read either.
            if !self.app_ended {
                let ended =
                    Way::default().poll_pass(cx, (&mut self.app, &mut sink()), Until::End, |_| {});
                self.app_ended = ended.is_ready();
            }
            Poll::Pending
        })
        .await;
    }

    /// Tells the app, where the client has not done so and is not in the middle of anything.
    async fn tell_app(&mut self, code: CloseCode) {
        let quiet = self.up.at_boundary() && self.up.held() == 0;
        if self.rising == Rising::Open && quiet && !self.up.has_closed() {
            self.up.add(code.to_app());
            let written = poll_fn(|cx| self.up.poll_flush(cx, &mut self.app));
            let _ = timeout(CLOSE_LIMIT, written).await;
        }
    }

    /// Ends both sides. What they still send must not turn into a reset that destroys what they were told.
    async fn part(mut self) {
        let ends = async { tokio::join!(self.client.shutdown(), self.app.shutdown()) };
        // Either may be gone already.
        let _ = timeout(CLOSE_LIMIT, ends).await;
        let rest = async {
            let (mut from_client, mut from_app) = (sink(), sink());
            tokio::join!(
                tokio::io::copy(&mut self.client, &mut from_client),
                tokio::io::copy(&mut self.app, &mut from_app),
            )
        };
        let _ = timeout(CLOSE_LIMIT, rest).await;
    }

    /// To the app. Its end is passed on.
    fn poll_up(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<Passed> {
        if self.rising != Rising::Open {
            return Poll::Pending;
        }
        let count = |bytes| self.counted.client_sent(bytes);
        let between = (&mut self.client, &mut self.app);
        let passed = std::task::ready!(self.up.poll_pass(cx, between, until, count));
        match passed {
            Passed::AsAsked => {}
            Passed::ReceiverGone => self.rising = Rising::AppGone,
            Passed::Ended | Passed::SenderGone => {
                self.rising = Rising::Ended;
                // A socket has nothing to wait for here.
                let _ = Pin::new(&mut self.app).poll_shutdown(cx);
            }
        }
        Poll::Ready(passed)
    }

    /// To the client.
    fn poll_down(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<Passed> {
        let count = |bytes| self.counted.app_sent(bytes);
        let between = (&mut self.app, &mut self.client);
        let passed = self.down.poll_pass(cx, between, until, count);
        if let Poll::Ready(Passed::Ended | Passed::SenderGone) = passed {
            self.app_ended = true;
        }
        passed
    }
}

/// Notices a client that takes nothing of what it is sent.
struct Stall {
    limit: Duration,
    /// Until when the bytes after these may wait.
    waiting: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Stall {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            waiting: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, way: &Way) -> Poll<()> {
        if way.held() == 0 {
            self.waiting = None;
            return Poll::Pending;
        }
        let written = way.written();
        let (_, sleep) = match &mut self.waiting {
            Some(waiting) if waiting.0 == written => waiting,
            waiting => waiting.insert((written, Box::pin(sleep(self.limit)))),
        };
        pin!(sleep.as_mut()).poll(cx)
    }
}
