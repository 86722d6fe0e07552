//! What must be running: the agent, the nodes, and a clock they agree on.

use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Limited};

use super::Finding;
use crate::agent::{
    body::{self, Body},
    config::Config,
    connections::{Connections, Failed},
    host,
};

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Clocks that differ by more break tokens and certificates.
const SKEW_SECONDS_MAX: u64 = 60;

/// Can the cache be written?
pub fn cache_folder(config: &Config) -> Finding {
    let folder = config.cache_dir.display();
    match host::is_writable(&config.cache_dir) {
        Ok(()) => Finding::fine(format!("cache folder {folder} can be written")),
        Err(error) => Finding::bad(
            format!("cache folder {folder} cannot be written: {error}"),
            "give it to the user of the agent, or name another one with --cache-dir",
        ),
    }
}

/// Does the agent run, and is it the agent?
pub async fn agent(connections: &Connections, config: &Config) -> Finding {
    let listen = config.listen.to_string();
    let answer = match ask(connections, &format!("http://{listen}"), &listen, "/agent/status").await
    {
        Ok(answer) => answer,
        Err(why) => {
            return Finding::bad(
                format!("no agent answers on {listen}: {why}"),
                "start it: systemctl start atoll-agent, or atoll agent run; if it listens elsewhere, \
                 name that with --listen",
            );
        }
    };
    let limited = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let status: Option<serde_json::Value> =
        limited.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    let Some(registries) = status.as_ref().and_then(|status| status["registries"].as_array())
    else {
        return Finding::bad(
            format!("another program listens on {listen}"),
            "give the agent another port with --listen, and install again",
        );
    };
    let missing: Vec<&str> = config
        .names
        .iter()
        .map(String::as_str)
        .filter(|name| {
            !registries
                .iter()
                .any(|known| known.as_str().is_some_and(|known| known.eq_ignore_ascii_case(name)))
        })
        .collect();
    if !missing.is_empty() {
        return Finding::bad(
            format!("the agent on {listen} does not serve {}", missing.join(", ")),
            "name it with --registry or --name where the agent is started, and start it again",
        );
    }
    Finding::fine(format!("agent answers on {listen}"))
}

/// Do the nodes answer, and what time do they have?
pub async fn nodes(connections: &Connections, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in &config.registry {
        let answer = match ask(connections, node, node, "/v2/").await {
            Ok(answer) => answer,
            Err(why) => {
                findings.push(Finding::bad(
                    format!("registry {node} does not answer: {why}"),
                    "check address, port and firewall; add --plain-http if it speaks no TLS",
                ));
                continue;
            }
        };
        let status = answer.status().as_u16();
        findings.push(match status {
            200 | 401 => Finding::fine(format!("registry {node} answers")),
            _ => Finding::bad(
                format!("{node} answers {status} to /v2/, as a registry does not"),
                "is it the address of the registry?",
            ),
        });
        findings.extend(clock(node, &answer, host::unix_seconds()));
    }
    findings
}

fn clock(node: &str, answer: &Response<Body>, now: u64) -> Option<Finding> {
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    let skew = unix_seconds(date)?.abs_diff(now);
    (skew > SKEW_SECONDS_MAX).then(|| {
        Finding::bad(
            format!("the clocks of this machine and of {node} differ by {skew} s"),
            "set the clock (timedatectl set-ntp true): logins and certificates depend on it",
        )
    })
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is sent (RFC 9110, section 5.6.7).
fn unix_seconds(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let day = date.get(5..7)?.parse::<u64>().ok()?;
    let month = MONTHS.iter().position(|name| Some(*name) == date.get(8..11))? as u64 + 1;
    let mut words = date.get(12..)?.split([' ', ':']);
    let mut number = || words.next()?.parse::<u64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    // Days since 1970 of the proleptic Gregorian calendar, with years that begin in March.
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    days.checked_sub(719_468).map(|days| ((days * 24 + hour) * 60 + minute) * 60 + second)
}

async fn ask(
    connections: &Connections,
    node: &str,
    host: &str,
    path: &str,
) -> Result<Response<Body>, String> {
    let request = Request::get(path).header(header::HOST, host).body(body::empty());
    let request = request.map_err(|error| error.to_string())?;
    match connections.send(node, request, Some(PATIENCE), false).await {
        Ok(answer) => Ok(answer),
        Err(Failed::Unreachable(error, _) | Failed::Lost(error)) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        assert_eq!(unix_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(unix_seconds("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(unix_seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for wrong in ["", "Sun, 06 Nov", "06 Nov 1994 08:49:37", "Sun, 06 Nox 1994 08:49:37 GMT"] {
            assert_eq!(unix_seconds(wrong), None, "{wrong}");
        }
        let answer = Response::builder().header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let answer = answer.body(body::empty()).expect("an answer");
        assert_eq!(clock("n", &answer, 784_111_800), None);
        assert!(clock("n", &answer, 784_112_000).is_some_and(|finding| finding.is_bad()));
    }
}
