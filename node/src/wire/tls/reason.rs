//! Why a connection did not come about, in words for an operator.

use std::{error::Error as StdError, io};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// What to do about a peer that sends bytes as they are.
const SPEAKS_PLAINTEXT: &str =
    "it does not speak TLS: is it a cluster port, and is `cluster.tls` the same on both nodes?";

/// What a failed handshake means. "It" is the peer.
pub fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of_tls(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the TLS handshake".to_owned()
        }
        None => error.to_string(),
    }
}

fn of_tls(error: &Error) -> String {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => SPEAKS_PLAINTEXT.to_owned(),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        other => format!("TLS: {other}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate was not signed by this cluster's CA".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired (or this node's clock is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (or this node's clock is wrong)".to_owned()
        }
        CertificateError::Other(other) => other.0.to_string(),
        other => format!("its certificate is refused: {other:?}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "another CA signed it than that of the peer's cluster"
        }
        AlertDescription::CertificateExpired => "it has expired (or a clock is wrong)",
        AlertDescription::CertificateUnknown => "it does not name a node of the peer's cluster",
        AlertDescription::NoApplicationProtocol => {
            return "it is no cluster port: it does not speak HTTP/2 inside TLS".to_owned();
        }
        other => return format!("it refused the connection with the TLS alert {other:?}"),
    };
    format!("it refused this node's certificate: {why}")
}

/// An error with everything below it, as one line: hyper's own text is only "http2 error".
pub fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let below = error.to_string();
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
        cause = error.source();
    }
    text
}
