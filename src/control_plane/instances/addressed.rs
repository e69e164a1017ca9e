//! An instance that somebody else runs: which of its addresses answer. Asks and tells; what follows is decided elsewhere.
//!
//! One task an endpoint, and one below it for each address that the endpoint stands for. An address is asked until it is
//! ready, then asked whether it still is, and then from the beginning again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::Liveness;
use super::monitor::{self, Check};
use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::readiness::{self, Probe};
use crate::generation::{Address, Reason, ReasonKind};

/// How often a name is looked up again.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);
/// The same while it has never been found.
const LOOKUP_AGAIN: Duration = Duration::from_millis(500);
/// How long the first address of a name that is ready waits for the others.
const GRACE: Duration = Duration::from_secs(2);

/// How to ask.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) readiness: readiness::Config,
    pub(super) liveness: Liveness,
}

/// What is told about an endpoint.
#[derive(Debug)]
pub(super) enum Tidings {
    /// A check had an answer.
    Probed(Probe),
    /// These of its addresses are ready. The first time: enough of them.
    Up(Vec<Address>),
    /// It cannot become ready.
    Unfit(Reason),
    /// One of its addresses that are ready was asked whether it still is.
    Checked(Check),
    /// None of them answers any more. The last that is told.
    Down(Reason),
}

/// What one address tells.
#[derive(Debug)]
enum Word {
    Probed(Probe),
    Up,
    Checked(Check),
    Down(Reason),
    Unfit(Reason),
}

/// One address under watch.
#[derive(Debug)]
struct Member {
    up: bool,
    task: AbortHandle,
    /// Has it asked at once.
    hurry: Arc<Notify>,
}

/// One endpoint and its addresses.
struct Attendant<F> {
    endpoint: Endpoint,
    manner: Manner,
    tell: F,
    members: BTreeMap<String, (Address, Member)>,
    tasks: JoinSet<()>,
    words: mpsc::UnboundedSender<(Address, Word)>,
    /// What was told last.
    told: Option<Vec<Address>>,
    /// When the first was ready.
    first_up: Option<Instant>,
}

/// Asks without end, until none of its addresses answers any more after one did. `look` has all that are ready asked at
/// once.
///
/// # Cancel safety
///
/// Cancel safe: nobody is asked any more.
pub(super) async fn attend(
    endpoint: Endpoint,
    manner: Manner,
    look: Arc<Notify>,
    tell: impl FnMut(Tidings),
) {
    let (words, mut heard) = mpsc::unbounded_channel();
    let mut attendant = Attendant::new(endpoint, manner, tell, words);
    let mut next_lookup = attendant.look_up().await;
    loop {
        let decide_at = attendant.decides_at();
        tokio::select! {
            Some((address, word)) = heard.recv() => {
                if attendant.hear(&address, word).is_break() {
                    return;
                }
            }
            () = until(next_lookup) => {
                next_lookup = attendant.look_up().await;
                if attendant.settle(None).is_break() {
                    return;
                }
            }
            () = look.notified() => attendant.hurry(),
            () = until(decide_at) => {
                attendant.first_up = None;
                attendant.say_up();
            }
        }
    }
}

type Flow = std::ops::ControlFlow<()>;

impl<F: FnMut(Tidings)> Attendant<F> {
    fn new(
        endpoint: Endpoint,
        manner: Manner,
        tell: F,
        words: mpsc::UnboundedSender<(Address, Word)>,
    ) -> Self {
        Self {
            endpoint,
            manner,
            tell,
            members: BTreeMap::new(),
            tasks: JoinSet::new(),
            words,
            told: None,
            first_up: None,
        }
    }

    /// Takes in the addresses that the endpoint stands for now, and says when to look again. What was known stays while
    /// the resolver fails.
    async fn look_up(&mut self) -> Option<Instant> {
        let found = self.endpoint.resolve().await;
        let now = Instant::now();
        match found {
            Ok(found) => self.replace(found),
            Err(error) => {
                tracing::debug!(endpoint = %self.endpoint, %error, "cannot be looked up");
                let why = format!("cannot look up {}: {error}", self.endpoint);
                if self.members.is_empty() {
                    (self.tell)(Tidings::Probed(Probe::Unreachable(why.into())));
                    return Some(now + LOOKUP_AGAIN);
                }
            }
        }
        self.endpoint.is_name().then(|| now + LOOKUP_INTERVAL)
    }

    fn replace(&mut self, found: Vec<Address>) {
        self.members.retain(|_, (address, member)| {
            let stays = found.contains(address);
            if !stays {
                member.task.abort();
            }
            stays
        });
        for address in found {
            let known = self.members.contains_key(&address.to_string());
            if !known {
                let hurry = Arc::new(Notify::new());
                let member = Inquirer {
                    manner: self.manner.clone(),
                    address: address.clone(),
                    hurry: Arc::clone(&hurry),
                    words: self.words.clone(),
                };
                let task = self.tasks.spawn(member.run());
                let up = false;
                let member = Member { up, task, hurry };
                self.members.insert(address.to_string(), (address, member));
            }
        }
        // Those that have ended.
        while self.tasks.try_join_next().is_some() {}
    }

    fn hear(&mut self, address: &Address, word: Word) -> Flow {
        let Some((_, member)) = self.members.get_mut(&address.to_string()) else {
            return Flow::Continue(());
        };
        match word {
            Word::Probed(probe) => {
                if self.told.is_none() {
                    (self.tell)(Tidings::Probed(probe));
                }
                Flow::Continue(())
            }
            Word::Unfit(reason) => {
                if self.told.is_none() {
                    (self.tell)(Tidings::Unfit(reason));
                }
                Flow::Continue(())
            }
            Word::Checked(check) => {
                (self.tell)(Tidings::Checked(check));
                Flow::Continue(())
            }
            Word::Up => {
                member.up = true;
                self.settle(None)
            }
            Word::Down(reason) => {
                member.up = false;
                self.settle(Some(reason))
            }
        }
    }

    fn hurry(&self) {
        for (_, member) in self.members.values().filter(|(_, member)| member.up) {
            // A permit that nobody waits for would make the next pause a short one; no more.
            member.hurry.notify_one();
        }
    }

    /// Tells what has changed about who is up.
    fn settle(&mut self, why: Option<Reason>) -> Flow {
        let up = self.up();
        if self.told.is_some() {
            if up.is_empty() {
                let gone = || {
                    let message = format!("{} has none of its addresses any more", self.endpoint);
                    Reason::new(ReasonKind::Unready, message)
                };
                (self.tell)(Tidings::Down(why.unwrap_or_else(gone)));
                return Flow::Break(());
            }
            self.say_up();
        } else if !up.is_empty() && up.len() == self.members.len() {
            self.say_up();
        } else if up.is_empty() {
            self.first_up = None;
        } else {
            self.first_up.get_or_insert_with(Instant::now);
        }
        Flow::Continue(())
    }

    fn say_up(&mut self) {
        let up = self.up();
        if self.told.as_ref() != Some(&up) {
            self.told = Some(up.clone());
            (self.tell)(Tidings::Up(up));
        }
    }

    fn up(&self) -> Vec<Address> {
        let up = self.members.values().filter(|(_, member)| member.up);
        up.map(|(address, _)| address.clone()).collect()
    }

    /// When those that are ready are enough.
    fn decides_at(&self) -> Option<Instant> {
        let first = self.first_up.filter(|_| self.told.is_none())?;
        Some(first + GRACE)
    }
}

/// Asks one address for ever.
struct Inquirer {
    manner: Manner,
    address: Address,
    hurry: Arc<Notify>,
    words: mpsc::UnboundedSender<(Address, Word)>,
}

impl Inquirer {
    async fn run(self) {
        let Manner {
            readiness,
            liveness,
        } = &self.manner;
        loop {
            let probed = |probe| self.tell(Word::Probed(probe));
            readiness::until_answers(readiness, &self.address, probed).await;
            if let Err(reason) = readiness::warm_up(readiness, &self.address).await {
                self.tell(Word::Unfit(reason));
                sleep(readiness.interval).await;
                continue;
            }
            self.tell(Word::Up);
            let checked = |check| self.tell(Word::Checked(check));
            let lost = monitor::lost(liveness.clone(), &self.address, &self.hurry, checked);
            let why = lost.await;
            self.tell(Word::Down(why));
        }
    }

    fn tell(&self, word: Word) {
        // Refused only when the attendant is gone, and this task with it.
        let _ = self.words.send((self.address.clone(), word));
    }
}

/// Waits for a moment, for ever if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    fn manner() -> Manner {
        Manner {
            readiness: readiness::Config {
                interval: Duration::from_millis(5),
                ..readiness::Config::default()
            },
            liveness: Liveness {
                // Only a look in a hurry comes in time.
                interval: Duration::from_secs(60),
                ..Liveness::of(&readiness::Config::default())
            },
        }
    }

    /// Answers everything for as long as it is held.
    fn serve(listener: TcpListener) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        });
        tasks
    }

    async fn next(heard: &mut mpsc::UnboundedReceiver<Tidings>) -> Tidings {
        loop {
            let tidings = timeout(Duration::from_secs(10), heard.recv()).await;
            match tidings.expect("it is told").expect("the attendant lives") {
                Tidings::Probed(_) => {}
                other => return other,
            }
        }
    }

    #[tokio::test]
    async fn an_address_that_stops_answering_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener);
        let (tell, mut heard) = mpsc::unbounded_channel();
        let look = Arc::new(Notify::new());
        let endpoint = Endpoint::Tcp(address);
        let attended = attend(endpoint, manner(), Arc::clone(&look), move |tidings| {
            drop(tell.send(tidings));
        });
        let attended = tokio::spawn(attended);
        let Tidings::Up(up) = next(&mut heard).await else {
            panic!("it is ready first");
        };
        assert_eq!(up, [Address::Tcp(address)]);
        look.notify_one();
        loop {
            // The one that begins by itself may come first.
            let Tidings::Checked(check) = next(&mut heard).await else {
                panic!("it is still there");
            };
            assert!(check.passed);
            if check.hurried {
                break;
            }
        }
        drop(server);
        look.notify_one();
        let mut last = next(&mut heard).await;
        while let Tidings::Checked(_) = last {
            last = next(&mut heard).await;
        }
        let Tidings::Down(reason) = last else {
            panic!("it is gone");
        };
        assert!(reason.message.contains("refused"), "{reason}");
        attended.await.unwrap();
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_is_asked_again() {
        let (tell, mut heard) = mpsc::unbounded_channel();
        let endpoint: Endpoint = "nobody.invalid:1".parse().unwrap();
        let look = Arc::new(Notify::new());
        let attended = tokio::spawn(attend(endpoint, manner(), look, move |tidings| {
            drop(tell.send(tidings));
        }));
        for _ in 0..2 {
            let tidings = timeout(Duration::from_secs(20), heard.recv())
                .await
                .unwrap();
            let Some(Tidings::Probed(probe)) = tidings else {
                panic!("{tidings:?}");
            };
            assert!(probe.to_string().contains("nobody.invalid:1"), "{probe}");
        }
        attended.abort();
    }

    #[tokio::test]
    async fn what_was_known_stays_while_the_resolver_fails_and_goes_when_it_says_so() {
        let [old, new] = ["127.0.0.1:9", "127.0.0.2:9"].map(|text| text.parse().unwrap());
        let [old, new] = [Address::Tcp(old), Address::Tcp(new)];
        let mut told = Vec::new();
        let (words, _heard) = mpsc::unbounded_channel();
        let endpoint: Endpoint = "nobody.invalid:9".parse().unwrap();
        let tell = |tidings| told.push(tidings);
        let mut attendant = Attendant::new(endpoint, manner(), tell, words);
        attendant.replace(vec![old.clone()]);
        assert!(attendant.hear(&old, Word::Up).is_continue());

        let again = attendant.look_up().await;
        assert!(again.is_some(), "it is looked up again");
        assert!(attendant.settle(None).is_continue());
        assert_eq!(attendant.up(), std::slice::from_ref(&old));

        attendant.replace(vec![new.clone()]);
        assert!(attendant.settle(None).is_break(), "nothing is up any more");
        drop(attendant);
        let Some(Tidings::Down(reason)) = told.pop() else {
            panic!("{told:?}");
        };
        assert!(reason.message.contains("none of its addresses"), "{reason}");
        assert!(
            matches!(&told[..], [Tidings::Up(up)] if *up == [old]),
            "{told:?}"
        );
    }
}
