//! Connections: how many there are, how long each may take, and what each request gets.
//!
//! Each connection serves one request. Whoever sends no request, or reads no answer, is
//! disconnected after some seconds, and when there are too many connections, new ones are closed.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use trefoil::adapters::hyper::LoopTimer;
use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::sleep;
use trefoil::{CancelToken, select, spawn};

use crate::access::{Access, Granted, METRICS};
use crate::body::{Activity, Answer, Events};
use crate::metrics;
use crate::report;
use crate::sampler::{Sampler, take};
use crate::tree::Query;

/// How many connections there may be.
const CONNECTIONS: usize = 64;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
/// How many bytes, and how many lines, a request's head may have.
const HEAD_BYTES: usize = 16 << 10;
const HEAD_LINES: usize = 64;
/// How long a connection may do nothing.
const STALL: Duration = Duration::from_secs(20);

/// What every response says about itself. Scripts and styles come from here alone, no script can
/// make markup of a text (`trusted-types`), and no other page can show, load or read this one.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Accepts until it is stopped.
pub(crate) async fn run(
    listener: TcpListener,
    access: Arc<Access>,
    sampler: Rc<Sampler>,
    stop: CancelToken,
) {
    let open = Rc::new(Cell::new(0));
    loop {
        let accepted = select! {
            _ = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            continue; // it has taken a tenth of a second
        };
        let Some(place) = Place::take(&open) else {
            continue; // which closes it
        };
        let (access, sampler) = (access.clone(), sampler.clone());
        spawn(async move {
            serve(stream, &access, sampler).await;
            drop(place);
        })
        .named("dashboard")
        .detach();
    }
}

/// One of the connections that there may be.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(open: &Rc<Cell<usize>>) -> Option<Self> {
        (open.get() < CONNECTIONS).then(|| {
            open.set(open.get() + 1);
            Self(open.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn serve(stream: TcpStream, access: &Access, sampler: Rc<Sampler>) {
    let _ = stream.set_nodelay(true); // late packets do no harm
    let activity = Activity::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (sampler, activity) = (sampler.clone(), activity.clone());
        async move { Ok::<_, Infallible>(answer(request, access, &sampler, activity).await) }
    });
    let connection = http1::Builder::new()
        .timer(LoopTimer)
        .keep_alive(false)
        .header_read_timeout(HEAD)
        .max_headers(HEAD_LINES)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(stream, service);
    select! {
        _ = connection => {}, // what a client does wrong is its own affair
        () = stalled(&activity) => {},
    }
}

/// Ends when a connection has done nothing for a while.
async fn stalled(activity: &Activity) {
    loop {
        let before = activity.get();
        sleep(STALL).await;
        if activity.get() == before {
            return;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    access: &Access,
    sampler: &Rc<Sampler>,
    activity: Activity,
) -> Response<Answer> {
    let granted = access.check(request.method(), request.uri(), request.headers());
    let below = match granted {
        Ok(Granted::Page(below)) => below,
        Ok(Granted::Enter) => {
            let mut response = text(StatusCode::SEE_OTHER, "");
            set(&mut response, header::LOCATION, &access.page_path());
            set(&mut response, header::SET_COOKIE, &access.cookie());
            return response;
        }
        Err(refusal) => {
            let mut response = text(refusal.status, refusal.why);
            if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
                set(&mut response, header::ALLOW, "GET");
            }
            return response;
        }
    };
    match below {
        "" => whole(HTML, report::HTML),
        "dashboard.css" => whole("text/css; charset=utf-8", report::STYLE),
        "dashboard.js" => whole("text/javascript; charset=utf-8", report::SCRIPT),
        METRICS => whole(metrics::TYPE, metrics::render(sampler.shared())),
        "events" => match sampler.join() {
            Some(stream) => response(
                StatusCode::OK,
                "text/event-stream",
                Answer::Events(Events::new(stream, activity)),
            ),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many pages look at this program.",
            ),
        },
        "tasks" => {
            let query = Query::parse(request.uri().query().unwrap_or_default());
            let view = sampler.tasks(&query).await;
            let json = serde_json::to_string(&view);
            whole(JSON, json.expect("texts and numbers have a form in JSON"))
        }
        "report.html" => {
            let before = take(sampler.shared());
            sleep(report::BETWEEN).await;
            match report::render(sampler.shared(), &before) {
                Ok(page) => {
                    let mut response = whole(HTML, page);
                    let name = "attachment; filename=\"report.html\"";
                    set(&mut response, header::CONTENT_DISPOSITION, name);
                    response
                }
                Err(_) => text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The system has no random numbers.",
                ),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "There is no such page."),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Answer> {
    let body = Answer::Whole(Some(Bytes::from_static(text.as_bytes())));
    response(status, "text/plain; charset=utf-8", body)
}

fn whole(kind: &'static str, body: impl Into<Bytes>) -> Response<Answer> {
    response(StatusCode::OK, kind, Answer::Whole(Some(body.into())))
}

fn response(status: StatusCode, kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn set(response: &mut Response<Answer>, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("words of hexadecimal digits, and literals");
    response.headers_mut().insert(name, value);
}
