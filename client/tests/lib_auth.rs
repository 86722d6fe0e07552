//! Logging in: tokens and passwords go where they belong, once, and nowhere else.

#![allow(clippy::disallowed_methods, reason = "a test on loopback is no simulation")]

mod lib_common;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_client::{Client, Credential, Credentials, Kind, Seed, StaticCredential};
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lib_common::{digest, limits, repo};
use tokio::net::TcpListener;

const CONTENT: &[u8] = b"a layer";

/// What a server was asked: `METHOD uri` and the `Authorization` header.
type Log = Arc<Mutex<Vec<(String, String, Bytes)>>>;

async fn serve(
    answer: impl Fn(&Request<()>, &Bytes) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (log, answer) = (Log::default(), Arc::new(answer));
    let kept = log.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, answer) = (kept.clone(), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (log, answer) = (log.clone(), answer.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    let request = Request::from_parts(parts, ());
                    let line = format!("{} {}", request.method(), request.uri());
                    let own = authorization(&request);
                    log.lock().unwrap_or_else(PoisonError::into_inner).push((
                        line,
                        own,
                        body.clone(),
                    ));
                    Ok::<_, Infallible>(answer(&request, &body))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, log)
}

fn authorization(request: &Request<()>) -> String {
    let value = request.headers().get(header::AUTHORIZATION);
    value.map_or(String::new(), |value| value.to_str().expect("text").to_owned())
}

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).expect("a response")
}

fn asked(log: &Log) -> Vec<(String, String, Bytes)> {
    std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A registry that serves one blob to whoever sends `Authorization: {wanted}` of the moment.
async fn registry(
    challenge: String,
    wanted: impl Fn() -> String + Send + Sync + 'static,
) -> (String, Log) {
    serve(move |request, _| {
        if request.uri().path() == "/v2/_atoll/view" {
            return answer(404, "");
        }
        if authorization(request) == wanted() {
            return answer(200, CONTENT);
        }
        let mut refused = answer(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}"#);
        let value = challenge.parse().expect("a value");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        refused
    })
    .await
}

fn client(registry: &str, credential: Option<Credential>) -> Client {
    let mut builder = Client::builder(vec![Seed::Node(registry.to_owned())]).limits(limits());
    if let Some(credential) = credential {
        builder = builder.credentials(Arc::new(StaticCredential(credential)));
    }
    builder.build().expect("a client")
}

fn password() -> Credential {
    Credential::Basic { username: "ann".to_owned(), password: "s3cret".to_owned() }
}

#[tokio::test]
async fn a_password_is_sent_after_the_challenge_and_then_at_once() {
    let basic = "Basic YW5uOnMzY3JldA==";
    let (address, log) = registry("Basic realm=\"r\"".to_owned(), || basic.to_owned()).await;
    let client = client(&address, Some(password()));
    for _ in 0..2 {
        client.blob(&repo(), &digest(CONTENT), Some(7)).await.expect("a blob");
    }
    let sent: Vec<String> = asked(&log)
        .into_iter()
        .filter(|(line, ..)| line.contains("/blobs/"))
        .map(|(_, authorization, _)| authorization)
        .collect();
    assert_eq!(sent, ["", basic, basic]);
}

#[tokio::test]
async fn without_a_credential_the_error_says_how_to_log_in() {
    let (address, _) = registry("Basic realm=\"r\"".to_owned(), || "never".to_owned()).await;
    for credential in [None, Some(password())] {
        let error = client(&address, credential).blob(&repo(), &digest(CONTENT), None).await;
        let error = error.expect_err("nobody is let in");
        assert_eq!(error.kind(), Kind::Denied);
        let text = error.to_string();
        assert!(text.contains(&format!("log in with `atoll login {address}`")), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("YW5u"), "{text}");
    }
    assert_eq!(format!("{:?}", password()), "Basic(…)");
}

#[tokio::test]
async fn one_token_serves_many_requests_until_it_ends() {
    let served = Arc::new(AtomicU64::new(0));
    let count = served.clone();
    let (tokens, log) = serve(move |_, _| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        // Slow enough that everybody waits for it; two seconds are used half.
        std::thread::sleep(Duration::from_millis(30));
        answer(200, format!(r#"{{"token":"t{number}","expires_in":2}}"#))
    })
    .await;
    let challenge = format!(
        r#"Bearer realm="http://{tokens}/token?own=1",service="reef",scope="repository:team/app:pull""#
    );
    let current = served.clone();
    let (address, _) =
        registry(challenge, move || format!("Bearer t{}", current.load(Ordering::SeqCst))).await;
    let client = client(&address, Some(password()));
    let (repo, digest) = (repo(), digest(CONTENT));
    for pulled in join_all((0..20).map(|_| client.blob(&repo, &digest, Some(7)))).await {
        pulled.expect("a blob");
    }
    let all = asked(&log);
    assert_eq!(all.len(), 1, "one token for everybody: {all:?}");
    let (line, authorization, _) = &all[0];
    assert_eq!(authorization, "Basic YW5uOnMzY3JldA==");
    assert_eq!(
        line,
        "GET /token?own=1&service=reef&scope=repository%3Ateam%2Fapp%3Apull&account=ann"
    );
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.blob(&repo, &digest, Some(7)).await.expect("a blob");
    assert_eq!(asked(&log).len(), 1, "it is renewed before its end");
}

#[tokio::test]
async fn a_refresh_token_is_posted_and_never_shown_to_the_registry() {
    let (tokens, log) = serve(|_, _| answer(200, r#"{"access_token":"fresh"}"#)).await;
    let challenge = format!(r#"Bearer realm="http://{tokens}/token",service="reef""#);
    let (address, registry_log) = registry(challenge, || "Bearer fresh".to_owned()).await;
    let identity = Credential::IdentityToken("identity".to_owned());
    let client = client(&address, Some(identity));
    client.blob(&repo(), &digest(CONTENT), Some(7)).await.expect("a blob");
    let all = asked(&log);
    let [(line, authorization, body)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((line.as_str(), authorization.as_str()), ("POST /token", ""));
    let body = String::from_utf8(body.to_vec()).expect("text");
    let expected = "service=reef&grant_type=refresh_token&client_id=atoll&refresh_token=identity&scope=repository%3Ateam%2Fapp%3Apull";
    assert_eq!(body, expected);
    assert!(!format!("{:?}", asked(&registry_log)).contains("identity"));
}

#[tokio::test]
async fn a_credential_follows_no_redirect_to_another_host() {
    let (elsewhere, log) = serve(|_, _| answer(200, CONTENT)).await;
    let target = format!("http://{elsewhere}/bucket/layer?signed=1");
    let basic = "Basic YW5uOnMzY3JldA==";
    let (address, _) = serve(move |request, _| {
        if request.uri().path() == "/v2/_atoll/view" {
            return answer(404, "");
        }
        if authorization(request) != basic {
            let mut refused = answer(401, "");
            refused
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, "Basic".parse().expect("a value"));
            return refused;
        }
        let mut moved = answer(307, "");
        moved.headers_mut().insert(header::LOCATION, target.parse().expect("a value"));
        moved
    })
    .await;
    let client = client(&address, Some(password()));
    client.blob(&repo(), &digest(CONTENT), Some(7)).await.expect("a blob");
    let all = asked(&log);
    let [(line, authorization, _)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((line.as_str(), authorization.as_str()), ("GET /bucket/layer?signed=1", ""));
}

#[tokio::test]
async fn no_password_goes_in_the_clear_to_a_token_server_elsewhere() {
    let challenge = r#"Bearer realm="http://tokens.example/token""#.to_owned();
    let (address, _) = registry(challenge, || "never".to_owned()).await;
    let client = client(&address, Some(password()));
    let error = client.blob(&repo(), &digest(CONTENT), None).await.expect_err("refused");
    assert!(error.to_string().contains("it is not behind TLS, so nothing is sent"), "{error}");
}

/// Remembers which registry it was asked about.
struct Asked(Mutex<Vec<String>>);

impl Credentials for Asked {
    fn for_registry<'a>(
        &'a self,
        host: &'a str,
        scope: &'a str,
    ) -> BoxFuture<'a, Option<Credential>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(format!("{host} {scope}"));
        Box::pin(async { Some(password()) })
    }
}

#[tokio::test]
async fn credentials_are_looked_up_by_the_registry_that_the_client_was_made_for() {
    let basic = "Basic YW5uOnMzY3JldA==";
    let (address, _) = registry("Basic".to_owned(), || basic.to_owned()).await;
    let credentials = Arc::new(Asked(Mutex::default()));
    let client = Client::builder(vec![Seed::Node(address)])
        .credentials(credentials.clone())
        .registry("reef.example:5000")
        .build()
        .expect("a client");
    client.blob(&repo(), &digest(CONTENT), Some(7)).await.expect("a blob");
    let all = credentials.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(all, ["reef.example:5000 repository:team/app:pull"]);
}
