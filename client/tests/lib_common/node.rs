//! One fake node: a listener, its faults, and what it was asked.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_client::Digest;
use atoll_core::route::{Route, parse};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use super::World;

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a node does to requests for blobs, or to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Takes the request and never answers.
    Hang,
    /// Answers after this.
    Slow(Duration),
    /// Sends so many bytes of each blob, then closes.
    Cut(usize),
    /// Sends so many bytes of each blob, then nothing more.
    Stall(usize),
    /// Changes one byte of each blob.
    Wrong,
    /// Answers this status, with `Retry-After: 1`.
    Status(u16),
    /// Reads so many bytes of each upload, then closes.
    CutUpload(usize),
}

/// A running node.
pub struct Fake {
    pub id: u16,
    pub address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    world: Arc<World>,
    fault: Mutex<Fault>,
    /// `METHOD path range`, views left out.
    asked: Mutex<Vec<String>>,
    is_plain: AtomicBool,
    sends_no_ranges: AtomicBool,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Fake {
    /// Starts `count` nodes of one cluster with three copies of everything.
    pub async fn cluster(count: u16) -> (Arc<World>, Vec<Fake>) {
        let world = Arc::new(World::default());
        let mut nodes = Vec::new();
        for id in 1..=count {
            nodes.push(Fake::start(id, world.clone()).await);
        }
        {
            let mut state = world.state();
            state.epoch = 1;
            state.replicas = 3;
            let members = nodes.iter().map(|node| (node.id, (node.address.clone(), "up")));
            state.members = members.collect();
        }
        (world, nodes)
    }

    pub async fn start(id: u16, world: Arc<World>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared {
            world,
            fault: Mutex::default(),
            asked: Mutex::default(),
            is_plain: AtomicBool::new(false),
            sends_no_ranges: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Fake { id, address, shared, task }
    }

    pub fn fail(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Closes the port and every connection.
    pub fn kill(&self) {
        self.task.abort();
        let mut connections = lock(&self.shared.connections);
        connections.drain(..).for_each(|connection| connection.abort());
    }

    /// Behaves like a registry that is no Atoll.
    pub fn be_plain(&self) {
        self.shared.is_plain.store(true, Ordering::Relaxed);
    }

    pub fn send_no_ranges(&self) {
        self.shared.sends_no_ranges.store(true, Ordering::Relaxed);
    }

    /// What was asked since the last time, without views.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.asked))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let own = shared.clone();
        let connection = tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = own.clone();
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        lock(&shared.connections).push(connection);
    }
}

pub fn whole(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn missing(code: &str) -> Response<Body> {
    whole(404, format!(r#"{{"errors":[{{"code":"{code}","message":"not here"}}]}}"#))
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let fault = lock(&self.fault).clone();
        let path = request.uri().path().to_owned();
        if path != "/v2/_atoll/view" {
            let range = request.headers().get(header::RANGE);
            let range = range.map_or("", |range| range.to_str().unwrap_or("?"));
            let line = format!("{} {} {range}", request.method(), request.uri());
            lock(&self.asked).push(line.trim_end().to_owned());
        }
        match fault {
            Fault::Hang => std::future::pending().await,
            Fault::Slow(time) => sleep(time).await,
            Fault::Status(status) => {
                let mut answer =
                    whole(status, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"later"}]}"#);
                answer.headers_mut().insert(header::RETRY_AFTER, "1".parse().expect("a value"));
                return answer;
            }
            _ => {}
        }
        let mut answer = self.route(request, &path, &fault).await;
        if !self.is_plain.load(Ordering::Relaxed) {
            let epoch = self.world.state().epoch;
            answer.headers_mut().insert("atoll-epoch", epoch.into());
        }
        answer
    }

    async fn route(&self, request: Request<Incoming>, path: &str, fault: &Fault) -> Response<Body> {
        let method = request.method().clone();
        match parse(path) {
            Ok(Route::Base) => whole(200, "{}"),
            Ok(Route::View) if !self.is_plain.load(Ordering::Relaxed) => {
                whole(200, self.world.view().to_string())
            }
            Ok(Route::Blob { digest, .. }) => self.blob(&request, &digest, fault),
            Ok(Route::Manifest { reference, .. }) if method == Method::PUT => {
                let media_type = request.headers()[header::CONTENT_TYPE].to_str().expect("text");
                let media_type = media_type.to_owned();
                let bytes = request.into_body().collect().await.expect("a body").to_bytes();
                let digest = super::digest(&bytes).to_string();
                let mut state = self.world.state();
                state.manifests.insert(digest, (media_type.clone(), bytes.clone()));
                state.manifests.insert(reference.to_string(), (media_type, bytes));
                whole(201, "")
            }
            Ok(Route::Manifest { reference, .. }) => self.manifest(&reference.to_string(), fault),
            Ok(Route::Uploads { .. }) => self.begin_upload(request).await,
            Ok(Route::Upload { .. }) | Err(_) if path.contains("/blobs/uploads/") => {
                self.upload(request, fault).await
            }
            _ => missing("NAME_UNKNOWN"),
        }
    }

    fn manifest(&self, reference: &str, fault: &Fault) -> Response<Body> {
        let found = self.world.state().manifests.get(reference).cloned();
        let Some((media_type, bytes)) = found else { return missing("MANIFEST_UNKNOWN") };
        let told = super::digest(&bytes).to_string();
        let mut bytes = bytes.to_vec();
        if *fault == Fault::Wrong {
            bytes[0] ^= 1;
        }
        let mut answer = whole(200, bytes);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type.parse().expect("a value"));
        headers.insert("docker-content-digest", told.parse().expect("a value"));
        answer
    }

    fn blob(&self, request: &Request<Incoming>, digest: &Digest, fault: &Fault) -> Response<Body> {
        let found = self.world.state().blobs.get(digest).cloned();
        let Some(content) = found else { return missing("BLOB_UNKNOWN") };
        let size = content.len();
        let range = request.headers().get(header::RANGE).and_then(|range| {
            let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
            let last: usize = last.parse().unwrap_or(usize::MAX);
            Some((first.parse::<usize>().ok()?, last.min(size.saturating_sub(1)) + 1))
        });
        let range = range.filter(|_| !self.sends_no_ranges.load(Ordering::Relaxed));
        let (start, end) = range.unwrap_or((0, size));
        if range.is_some() && start >= size {
            return whole(416, "");
        }
        let mut part = content.slice(start..end).to_vec();
        if *fault == Fault::Wrong && !part.is_empty() {
            let middle = part.len() / 2;
            part[middle] ^= 1;
        }
        let len = part.len();
        let mut answer = Response::new(self.sending(part.into(), fault, range.is_some()));
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_LENGTH, len.into());
        if range.is_some() {
            let told = format!("bytes {start}-{}/{size}", end - 1);
            headers.insert(header::CONTENT_RANGE, told.parse().expect("a value"));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        answer
    }

    /// The bytes of a blob in small frames, as far as the fault lets them.
    fn sending(&self, part: Bytes, fault: &Fault, is_range: bool) -> Body {
        let (sent, then) = match fault {
            Fault::Cut(at) => (part.slice(..part.len().min(*at)), Then::Close),
            Fault::Stall(at) => (part.slice(..part.len().min(*at)), Then::Wait),
            _ => (part.clone(), Then::End),
        };
        let is_cut = sent.len() < part.len();
        let world = self.world.clone();
        let counted = is_range.then(|| Counted::new(world));
        let frames =
            futures_util::stream::unfold((sent, counted), move |(mut rest, counted)| async move {
                if rest.is_empty() {
                    return match then {
                        Then::Close if is_cut => {
                            Some((Err(io::ErrorKind::BrokenPipe.into()), (rest, counted)))
                        }
                        Then::Wait if is_cut => std::future::pending().await,
                        _ => None,
                    };
                }
                let piece = rest.split_to(rest.len().min(8192));
                tokio::task::yield_now().await;
                Some((Ok(Frame::data(piece)), (rest, counted)))
            });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn begin_upload(&self, request: Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let wanted = query.strip_prefix("digest=").map(str::to_owned);
        if let Some(wanted) = wanted.filter(|_| !self.is_plain.load(Ordering::Relaxed)) {
            let bytes = request.into_body().collect().await.expect("a body").to_bytes();
            return self.commit(&wanted, bytes);
        }
        let mut state = self.world.state();
        state.next_upload += 1;
        let id = state.next_upload;
        state.uploads.insert(id, Vec::new());
        let mut answer = whole(202, "");
        let place = format!("/v2/team/app/blobs/uploads/{id}?state=x");
        answer.headers_mut().insert(header::LOCATION, place.parse().expect("a value"));
        answer
    }

    fn commit(&self, wanted: &str, bytes: Bytes) -> Response<Body> {
        let digest = super::digest(&bytes);
        if digest.to_string() != wanted {
            return whole(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#);
        }
        self.world.state().blobs.insert(digest, bytes);
        whole(201, "")
    }

    async fn upload(&self, request: Request<Incoming>, fault: &Fault) -> Response<Body> {
        let id = request.uri().path().rsplit('/').next().and_then(|id| id.parse::<u64>().ok());
        let id = id.expect("an upload");
        if request.method() == Method::GET {
            let state = self.world.state();
            let Some(upload) = state.uploads.get(&id) else {
                return missing("BLOB_UPLOAD_UNKNOWN");
            };
            let mut answer = whole(204, "");
            let range = format!("0-{}", upload.len().saturating_sub(1));
            answer.headers_mut().insert(header::RANGE, range.parse().expect("a value"));
            return answer;
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (_, wanted) = query.split_once("digest=").expect("a digest");
        let mut body = request.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.expect("a frame").into_data() else { continue };
            read += data.len();
            self.world.received(id, &data);
            if matches!(fault, Fault::CutUpload(at) if read >= *at) {
                // Once only: the next try goes through.
                *lock(&self.fault) = Fault::None;
                lock(&self.connections).drain(..).for_each(|connection| connection.abort());
                std::future::pending::<()>().await;
            }
        }
        let bytes = self.world.state().uploads.remove(&id).expect("an upload");
        self.commit(wanted, bytes.into())
    }
}

#[derive(Clone, Copy)]
enum Then {
    End,
    Close,
    Wait,
}

/// Counts range answers on their way.
struct Counted(Arc<World>);

impl Counted {
    fn new(world: Arc<World>) -> Counted {
        {
            let mut state = world.state();
            state.ranges_now += 1;
            state.ranges_most = state.ranges_most.max(state.ranges_now);
        }
        Counted(world)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.state().ranges_now -= 1;
    }
}
