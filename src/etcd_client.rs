//! The way to etcd: its members, one after another, and who we are to them.
//!
//! Carries requests as they are and says what came of each within its time. What is tried again,
//! and when, is decided by who asks; only that a token has run out is nobody's business but ours.

use crate::etcd::{self, Answer, Header, Request, Span, Trouble, User, Watched};
use crate::http_client::{Connection, Fault, Place};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::Full;
use smol::future::FutureExt;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// See the head of this file. Clones are the same.
#[derive(Clone)]
pub(crate) struct Members(Rc<Inner>);

struct Inner {
    ways: RefCell<Vec<Place>>,
    /// Which of them is asked.
    current: Cell<usize>,
    /// Connections that nobody uses at the moment.
    idle: RefCell<Vec<(Place, Connection)>>,
    /// The cluster that all of them have to be of, once that is known.
    cluster: Cell<Option<u64>>,
    user: RefCell<Option<User>>,
    token: RefCell<Option<Zeroizing<String>>>,
    timeout: Duration,
    figures: RefCell<Figures>,
}

/// What the requests came to.
#[derive(Clone, Default, Debug)]
pub(crate) struct Figures {
    /// Requests that were answered, and how long that took together, by kind.
    pub answered: BTreeMap<&'static str, (u64, Duration)>,
    /// Those that were not, by kind and reason.
    pub troubles: BTreeMap<(&'static str, &'static str), u64>,
}

impl Figures {
    /// How long an answer took on the average.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let answered = self.answered.values();
        let (count, time) = answered.fold((0, Duration::ZERO), |(count, time), (more, longer)| {
            (count + more, time + *longer)
        });
        time.checked_div(u32::try_from(count).ok()?)
    }
}

impl Members {
    /// These, one after another; each has so much time for a request.
    pub(crate) fn new(ways: Vec<Place>, user: Option<User>, timeout: Duration) -> Self {
        Self(Rc::new(Inner {
            ways: RefCell::new(ways),
            current: Cell::new(0),
            idle: RefCell::new(Vec::new()),
            cluster: Cell::new(None),
            user: RefCell::new(user),
            token: RefCell::new(None),
            timeout,
            figures: RefCell::new(Figures::default()),
        }))
    }

    /// Others from now on, or another password.
    pub(crate) fn replace(&self, ways: Vec<Place>, user: Option<User>) {
        *self.0.ways.borrow_mut() = ways;
        *self.0.user.borrow_mut() = user;
        *self.0.token.borrow_mut() = None;
        self.0.idle.borrow_mut().clear();
    }

    /// A member that answers for another cluster than this one is left for the next.
    pub(crate) fn are_of(&self, cluster: Option<u64>) {
        self.0.cluster.set(cluster);
    }

    /// Whether who says this is of another cluster than the one that is known.
    fn is_stranger(&self, header: Option<&Header>) -> bool {
        let known = self.0.cluster.get();
        header.is_some_and(|header| known.is_some_and(|known| known != header.cluster))
    }

    /// Where they are, as they are configured.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.ways.borrow().iter().map(Place::to_string).collect()
    }

    /// Each of them by itself, with its name, and asked by nobody in particular.
    pub(crate) fn each(&self) -> Vec<(String, Self)> {
        let ways = self.0.ways.borrow();
        let each = ways.iter().map(|way| {
            let alone = Self::new(vec![way.clone()], None, self.0.timeout);
            (way.to_string(), alone)
        });
        each.collect()
    }

    /// What the requests came to until now.
    pub(crate) fn figures(&self) -> Figures {
        self.0.figures.borrow().clone()
    }

    /// Asks the member that answered last, and says what came of it, within the time that a request
    /// has.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, Trouble> {
        let began = Instant::now();
        let way = self.way();
        let tried = async { self.ask_at(&way, request).await };
        let answer = tried.or(self.patience()).await;
        let leave = match &answer {
            // Whoever asked has to hear of it all the same.
            Ok(answer) => self.is_stranger(answer.header()),
            Err(trouble) => trouble.is_the_members(),
        };
        if leave {
            self.leave(&way);
        }
        let op = word_of(request);
        let mut figures = self.0.figures.borrow_mut();
        match &answer {
            Ok(_) => {
                let (count, time) = figures.answered.entry(op).or_default();
                *count += 1;
                *time += began.elapsed();
            }
            Err(trouble) => *figures.troubles.entry((op, trouble.word())).or_default() += 1,
        }
        answer
    }

    /// Tells changes of these keys until that ends, or nobody can take more, and why it does.
    pub(crate) async fn watch(
        &self,
        spans: Vec<Span>,
        mut tell: impl FnMut(Watched) -> bool,
    ) -> Trouble {
        let way = self.way();
        let request = Request::Watch(spans);
        let opened = async {
            let connection = Connection::open(&way).await.map_err(silent)?;
            let asked = self.http(&way, &request);
            connection.follow(asked, LINE_LIMIT).await.map_err(silent)
        };
        let (status, mut lines) = match opened.or(self.patience()).await {
            Ok(opened) => opened,
            Err(trouble) => {
                self.leave(&way);
                return trouble;
            }
        };
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.leave(&way);
                    return Trouble::Silent("the watch ended".to_owned());
                }
                Err(fault) => {
                    self.leave(&way);
                    return silent(fault);
                }
            };
            if status != http::StatusCode::OK {
                let trouble = request.read(status.as_u16(), &line);
                let trouble = trouble.err().unwrap_or(Trouble::Nonsense(line));
                if let Trouble::LoggedOut(_) = trouble {
                    *self.0.token.borrow_mut() = None;
                }
                return trouble;
            }
            match etcd::watched(&line) {
                Ok(Watched::Ended { compacted, why }) => {
                    tell(Watched::Ended { compacted, why });
                    return Trouble::Silent("the watch was ended".to_owned());
                }
                Ok(watched) if self.is_stranger(watched.header()) => {
                    self.leave(&way);
                    return Trouble::Nonsense("a member of another cluster".to_owned());
                }
                Ok(watched) => {
                    if !tell(watched) {
                        return Trouble::Silent("nobody could take what changed".to_owned());
                    }
                }
                Err(trouble) => {
                    if trouble.is_the_members() {
                        self.leave(&way);
                    }
                    return trouble;
                }
            }
        }
    }

    async fn patience<T>(&self) -> Result<T, Trouble> {
        smol::Timer::after(self.0.timeout).await;
        let seconds = self.0.timeout.as_secs_f64();
        Err(Trouble::Silent(format!("no answer in {seconds} s")))
    }

    /// Asks one member; once more where the token has run out.
    async fn ask_at(&self, way: &Place, request: &Request) -> Result<Answer, Trouble> {
        let user = self.0.user.borrow().clone();
        if let Some(user) = &user
            && self.0.token.borrow().is_none()
        {
            self.log_in(way, user).await?;
        }
        match (self.exchange(way, request).await, user) {
            (Err(Trouble::LoggedOut(_)), Some(user)) => {
                self.log_in(way, &user).await?;
                self.exchange(way, request).await
            }
            (answer, _) => answer,
        }
    }

    async fn log_in(&self, way: &Place, user: &User) -> Result<(), Trouble> {
        *self.0.token.borrow_mut() = None;
        match self
            .exchange(way, &Request::Authenticate(user.clone()))
            .await
        {
            Ok(Answer::Authenticated { token, .. }) => {
                *self.0.token.borrow_mut() = Some(token);
                Ok(())
            }
            // Users are not switched on there: whoever asks may.
            Err(Trouble::Other(NO_USERS, _)) => {
                *self.0.token.borrow_mut() = Some(Zeroizing::default());
                Ok(())
            }
            Err(trouble) => Err(trouble),
            Ok(_) => Err(Trouble::Nonsense("no token".to_owned())),
        }
    }

    async fn exchange(&self, way: &Place, request: &Request) -> Result<Answer, Trouble> {
        let mut connection = match self.take_idle(way) {
            Some(connection) => connection,
            None => Connection::open(way).await.map_err(silent)?,
        };
        let asked = self.http(way, request);
        let answer = connection
            .exchange(asked, ANSWER_LIMIT)
            .await
            .map_err(silent)?;
        if connection.is_open() {
            self.0.idle.borrow_mut().push((way.clone(), connection));
        }
        request.read(
            answer.status().as_u16(),
            &String::from_utf8_lossy(answer.body()),
        )
    }

    fn take_idle(&self, way: &Place) -> Option<Connection> {
        let mut idle = self.0.idle.borrow_mut();
        idle.retain(|(_, connection)| connection.is_open());
        let found = idle.iter().position(|(to, _)| to == way)?;
        Some(idle.swap_remove(found).1)
    }

    fn http(&self, way: &Place, request: &Request) -> http::Request<Full<Bytes>> {
        let (method, path) = request.target();
        let body = Bytes::copy_from_slice(request.body().as_bytes());
        let mut builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, way.to_string())
            .header(CONTENT_TYPE, "application/json");
        let token = self.0.token.borrow();
        if let Some(token) = token.as_ref().filter(|token| !token.is_empty()) {
            builder = builder.header(AUTHORIZATION, token.as_str());
        }
        builder
            .body(Full::new(body))
            .unwrap_or_else(|_| http::Request::new(Full::default()))
    }

    fn way(&self) -> Place {
        let ways = self.0.ways.borrow();
        ways[self.0.current.get() % ways.len()].clone()
    }

    /// This member is not asked next, unless another request has turned to another one already.
    fn leave(&self, way: &Place) {
        if self.way() == *way {
            self.0.current.set(self.0.current.get().wrapping_add(1));
        }
        self.0.idle.borrow_mut().retain(|(to, _)| to != way);
    }
}

fn silent(fault: Fault) -> Trouble {
    Trouble::Silent(fault.to_string())
}

fn word_of(request: &Request) -> &'static str {
    match request {
        Request::Txn(_) => "txn",
        Request::Range(_) | Request::Past(..) => "range",
        Request::Watch(_) => "watch",
        Request::Authenticate(_) => "authenticate",
        Request::Status => "status",
        Request::Version => "version",
        Request::Space => "space",
    }
}

/// No answer is larger: the journal of a large rack with all its tasks.
const ANSWER_LIMIT: usize = 64 << 20;
/// No line of a watch is larger.
const LINE_LIMIT: usize = 1 << 20;
/// "Authentication is not enabled", as gRPC counts.
const NO_USERS: u64 = 9;
