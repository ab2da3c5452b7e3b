//! A connection to somebody who speaks HTTP: requests one after another, or one answer that is read
//! line by line.
//!
//! Over a Unix socket or TCP, with TLS where somebody is to be trusted. Knows nothing of what is
//! said; patience is the caller's, who drops what he does not want to wait for any more.

pub(crate) mod trust;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use trust::Trust;

/// Where somebody listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On a port.
    Tcp {
        /// Host and port, as the header `Host` has them.
        authority: String,
        /// Over TLS, where there is somebody to trust; else in plain HTTP.
        trust: Option<Trust>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { authority, .. } => f.write_str(authority),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody can be reached there: nothing was asked.
    NotReached(io::Error),
    /// It is not whom we trust: nothing was asked.
    NotTrusted(String),
    /// What answers there speaks no HTTP: nobody was asked who could do anything.
    NoHttp(String),
    /// The connection broke; the request may have arrived.
    Broken(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReached(error) => write!(f, "{error}"),
            Self::NotTrusted(why) => write!(f, "no TLS with it: {why}"),
            Self::NoHttp(why) => write!(f, "what answers there speaks no HTTP: {why}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// What bytes go over.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// One connection. It does nothing but while something is asked.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    /// Over TLS: it may say only later that it does not go on with us.
    trust: Option<Trust>,
    /// Then, why.
    ended: Rc<RefCell<Option<String>>>,
}

/// What moves the bytes of a connection, until that has ended.
struct Driver(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Driver {
    /// Moves them, and never says that it is done: what is asked over the connection says more.
    async fn drive<T>(&mut self) -> T {
        if let Some(driver) = &mut self.0 {
            driver.await;
            self.0 = None;
        }
        smol::future::pending().await
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or somebody who is not trusted.
    pub(crate) async fn open(way: &Place) -> Result<Self, Fault> {
        match way {
            Place::Unix(path) => {
                let stream = smol::net::unix::UnixStream::connect(path).await;
                Self::over(Box::new(stream.map_err(Fault::NotReached)?), None).await
            }
            Place::Tcp { authority, trust } => {
                let stream = smol::net::TcpStream::connect(authority.as_str()).await;
                let stream = stream.map_err(Fault::NotReached)?;
                // Small requests leave at once.
                stream.set_nodelay(true).map_err(Fault::NotReached)?;
                match trust {
                    Some(trust) => {
                        let stream = trust.greet(authority, stream).await;
                        let stream = Box::new(stream.map_err(Fault::NotTrusted)?);
                        Self::over(stream, Some(trust.clone())).await
                    }
                    None => Self::over(Box::new(stream), None).await,
                }
            }
        }
    }

    /// One kind of stream for all: hyper's client for each of three would be much program text.
    async fn over(stream: Box<dyn Stream>, trust: Option<Trust>) -> Result<Self, Fault> {
        let broken = |e: hyper::Error| Fault::Broken(e.to_string());
        let greeted = http1::handshake(FuturesIo::new(stream)).await;
        let (sender, connection) = greeted.map_err(broken)?;
        let ended = Rc::new(RefCell::new(None));
        let (believer, why) = (trust.clone(), ended.clone());
        let driver = Box::pin(async move {
            // What is asked says in its own words what became of the connection, but for this.
            if let (Err(e), Some(trust)) = (connection.await, believer) {
                why.replace(trust.in_words(&e));
            }
        });
        Ok(Self {
            sender,
            driver: Driver(Some(driver)),
            trust,
            ended,
        })
    }

    /// Whether it may be asked again.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks, and reads an answer of at most so many bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Response<Bytes>, Fault> {
        let (sender, trust) = (&mut self.sender, self.trust.as_ref());
        let answer = async move {
            let (head, body) = respond(sender, trust, request).await?.into_parts();
            let body = Limited::new(body, limit).collect().await;
            let body = body.map_err(|e| in_the_middle(&*e))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answer = answer.or(self.driver.drive()).await;
        answer.map_err(|fault| self.known(fault))
    }

    /// What the other side has against us, where that has ended the connection.
    fn known(&self, fault: Fault) -> Fault {
        match (self.ended.borrow_mut().take(), fault) {
            (Some(why), Fault::Broken(_)) => Fault::NotTrusted(why),
            (_, fault) => fault,
        }
    }

    /// Asks, and reads an answer that comes line by line, each of at most so many bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn follow(
        mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(StatusCode, Lines), Fault> {
        let asked = respond(&mut self.sender, self.trust.as_ref(), request);
        let response = asked.or(self.driver.drive()).await;
        let response = response.map_err(|fault| self.known(fault))?;
        let status = response.status();
        let lines = Lines {
            body: response.into_body(),
            connection: self,
            read: BytesMut::new(),
            limit,
        };
        Ok((status, lines))
    }
}

async fn respond(
    sender: &mut SendRequest<Full<Bytes>>,
    trust: Option<&Trust>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Fault> {
    let broken = |error: hyper::Error| {
        if let Some(why) = trust.and_then(|trust| trust.in_words(&error)) {
            return Fault::NotTrusted(why);
        }
        if error.is_parse() {
            return Fault::NoHttp(error.to_string());
        }
        let told = "the connection broke before an answer came";
        let ended = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
        Fault::Broken(match ended {
            true => told.to_owned(),
            false => format!("{told}: {error}"),
        })
    };
    sender.ready().await.map_err(broken)?;
    sender.send_request(request).await.map_err(broken)
}

fn in_the_middle(error: &dyn std::error::Error) -> Fault {
    Fault::Broken(format!(
        "the connection broke in the middle of an answer: {error}"
    ))
}

/// An answer that comes line by line.
pub(crate) struct Lines {
    body: Incoming,
    connection: Connection,
    read: BytesMut,
    limit: usize,
}

impl Lines {
    /// The next line; nothing at the end. Dropping it loses nothing that was not read.
    ///
    /// # Errors
    /// The connection broke, or a line is too long.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                return Ok(Some(line));
            }
            if self.read.len() > self.limit {
                return Err(Fault::Broken(format!(
                    "a line of more than {} bytes",
                    self.limit
                )));
            }
            let frame = self.body.frame();
            let frame = frame.or(self.connection.driver.drive()).await;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(in_the_middle(&error)),
                None => return Ok(None),
            }
        }
    }
}
