//! A start with a wrong configuration: whoever waits on the socket that systemd passed is told so,
//! and where it is wrong.
//!
//! Not telling them would leave their requests in the socket: systemd would start the daemon again
//! for them at once, and again, until it gave the socket up.

use super::listen;
use crate::api::dispatch::Frame;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::model::ErrorKind;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use smol::LocalExecutor;
use smol::future::FutureExt;
use smol::net::unix::{UnixListener, UnixStream};
use smol_hyper::rt::FuturesIo;
use std::convert::Infallible;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

/// How long whoever asks is answered, at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a next one is waited for. The one for whom systemd started us is there already.
const NEXT: Duration = Duration::from_secs(1);
/// How often the configuration is looked at again.
const LOOK: Duration = Duration::from_millis(250);
/// How much of a request is read, so that its sender gets to read the answer.
const BODY: usize = 64 * 1024;

/// Answers all requests that wait on systemd's socket, and those that come meanwhile, with 503.
///
/// Where the configuration is put right meanwhile the program begins anew, and this does not
/// return: somebody who has just done that says `systemctl start`, and as long as we are here that
/// waits for this very start, whatever made systemd try it.
pub(super) fn answer_waiting(why: &str, is_right: impl Fn() -> bool) {
    let listener = match listen::passed() {
        Ok(Some(listener)) => listener,
        Ok(None) => return,
        Err(failure) => return log::error!("{}", failure.text),
    };
    let text = format!("rackbmcd does not start, its configuration is wrong: {why}");
    let executor = Rc::new(LocalExecutor::new());
    let all = async {
        serve(listener.clone(), Rc::from(text), executor.clone()).await;
        false
    };
    let over = async {
        smol::Timer::after(PATIENCE).await;
        false
    };
    let put_right = async {
        while !is_right() {
            smol::Timer::after(LOOK).await;
        }
        true
    };
    if smol::block_on(executor.run(all.or(over).or(put_right))) {
        begin_anew(&listener);
    }
}

/// The program as it was started, in this process, which systemd takes for the daemon. Whoever has
/// no answer yet hears that the connection broke, and asks again.
fn begin_anew(listener: &UnixListener) {
    log::info!("the configuration is right now: starting with it");
    if let Err(error) = fcntl(listener.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())) {
        return log::error!("the socket that systemd passed: {error}");
    }
    let why = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .exec();
    log::error!("it cannot be started anew: {why}");
}

async fn serve(listener: UnixListener, why: Rc<str>, executor: Rc<LocalExecutor<'static>>) {
    let mut under_way = Vec::new();
    let mut patience = Duration::ZERO;
    loop {
        let next = async { Some(listener.accept().await) };
        let quiet = async {
            smol::Timer::after(patience).await;
            None
        };
        match next.or(quiet).await {
            Some(Ok((stream, _))) => under_way.push(executor.spawn(tell(stream, why.clone()))),
            Some(Err(error)) => return log::error!("the socket that systemd passed: {error}"),
            None => break,
        }
        patience = NEXT;
    }
    for answering in under_way {
        answering.await;
    }
}

/// One connection: its first request is answered, then it is closed.
async fn tell(stream: UnixStream, why: Rc<str>) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let why = why.clone();
        async move {
            let (head, body) = request.into_parts();
            // Whatever it was, it is not carried out.
            let _ = Limited::new(body, BODY).collect().await;
            let frame = Frame::of(
                "req-none",
                head.uri.path(),
                head.uri.query().unwrap_or_default(),
                &head.headers,
            );
            let fault = Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::Configuration,
                &*why,
            );
            Ok::<_, Infallible>(with_head(frame.finish(Err(fault))))
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), answer);
    if let Err(error) = connection.await {
        log::debug!("a client went away: {error}");
    }
}

fn with_head(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut answer = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *answer.status_mut() = response.status;
    let headers = answer.headers_mut();
    if let Some(kind) = response.media_type {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in response.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}
