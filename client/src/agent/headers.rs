//! Headers on their way through the agent.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// About one connection and not about the request (RFC 9110, section 7.6.1). `Expect` was answered
/// when the body was asked for.
const OF_ONE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::HOST,
    header::EXPECT,
];

/// The headers that travel on.
pub fn between_connections(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut kept = headers.clone();
    for name in OF_ONE_CONNECTION.iter().chain(&named) {
        kept.remove(name);
    }
    kept
}

/// Keeps the caller with the agent: where a node names itself in a `Location`, the path is left.
/// Places elsewhere are nobody's business here and stay as they are.
pub fn localize(headers: &mut HeaderMap, is_node: impl Fn(&str) -> bool) {
    let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let Ok(uri) = location.parse::<Uri>() else { return };
    if !uri.authority().is_some_and(|authority| is_node(authority.as_str())) {
        return;
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = HeaderValue::try_from(path) {
        headers.insert(header::LOCATION, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let came = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("host", "localhost:5080"),
            ("expect", "100-continue"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Basic x"),
            ("content-length", "5"),
            ("range", "bytes=0-1"),
        ]);
        let kept = between_connections(&came);
        let mut names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "content-length", "range"]);
    }

    #[test]
    fn uploads_come_back_through_the_agent() {
        let place = |location: &'static str| {
            let mut headers = map(&[("location", location)]);
            localize(&mut headers, |node| node == "10.0.0.1:5000");
            headers[header::LOCATION].to_str().expect("text").to_owned()
        };
        let own = "/v2/a/blobs/uploads/1?_state=x";
        assert_eq!(place("http://10.0.0.1:5000/v2/a/blobs/uploads/1?_state=x"), own);
        assert_eq!(place("/v2/a/blobs/uploads/1?_state=x"), own);
        assert_eq!(place("https://store.example/x?y"), "https://store.example/x?y");
    }
}
