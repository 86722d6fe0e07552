//! When to cut a connection: a pure verdict over what was seen of it.
//!
//! A connection is in one of three phases. *Idle*: no request is open and nothing was received
//! since the last one. *Header*: the next request has begun but its header is not complete. *Open*:
//! requests are being served; then only the time that is the client's own counts, that is while the
//! node waits for bytes of a body or for room to send.

use std::time::Duration;

/// How patient a listener is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a request to the end of its header.
    pub header_timeout: Duration,
    /// Without any request.
    pub idle_timeout: Duration,
    /// Bytes per second, both directions together, that a client must move while the node waits
    /// for it. 0 switches the check off.
    pub min_rate_bytes_per_second: u64,
    /// Over how long that rate is taken.
    pub min_rate_grace: Duration,
}

/// What was seen of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Requests being served.
    pub requests_open: u32,
    /// Was anything received since the last request ended?
    pub received_since_idle: bool,
    /// When the present phase began.
    pub phase_since: Duration,
    /// Does the node wait for the client?
    pub waiting: bool,
    /// Bytes moved so far, both directions.
    pub moved: u64,
}

/// The stretch of time over which the rate is being taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateWindow(Option<(Duration, u64)>);

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing was asked for too long.
    Idle,
    /// The header took too long.
    Header,
    /// The client moved fewer bytes than the minimum rate.
    Slow,
}

/// Looks at a connection at `now`; answers why it must go, if it must.
pub fn verdict(
    patience: &Patience,
    window: &mut RateWindow,
    observed: &Observed,
    now: Duration,
) -> Option<Cut> {
    if observed.requests_open == 0 {
        *window = RateWindow::default();
        let in_phase = now.saturating_sub(observed.phase_since);
        return match observed.received_since_idle {
            true => (in_phase >= patience.header_timeout).then_some(Cut::Header),
            false => (in_phase >= patience.idle_timeout).then_some(Cut::Idle),
        };
    }
    if !observed.waiting || patience.min_rate_bytes_per_second == 0 {
        *window = RateWindow::default();
        return None;
    }
    let (since, moved_then) = *window.0.get_or_insert((now, observed.moved));
    let elapsed = now.saturating_sub(since);
    if elapsed < patience.min_rate_grace {
        return None;
    }
    let moved = observed.moved.saturating_sub(moved_then);
    let needed = (patience.min_rate_bytes_per_second as f64 * elapsed.as_secs_f64()) as u64;
    if moved < needed {
        return Some(Cut::Slow);
    }
    *window = RateWindow(Some((now, observed.moved)));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        min_rate_bytes_per_second: 1_000,
        min_rate_grace: Duration::from_secs(5),
    };
    const IDLE: Observed = Observed {
        requests_open: 0,
        received_since_idle: false,
        phase_since: Duration::ZERO,
        waiting: false,
        moved: 0,
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn idle_and_half_a_header_have_their_own_limits() {
        let mut window = RateWindow::default();
        assert_eq!(verdict(&PATIENCE, &mut window, &IDLE, seconds(59)), None);
        assert_eq!(verdict(&PATIENCE, &mut window, &IDLE, seconds(60)), Some(Cut::Idle));
        let header = Observed { received_since_idle: true, ..IDLE };
        assert_eq!(verdict(&PATIENCE, &mut window, &header, seconds(9)), None);
        assert_eq!(verdict(&PATIENCE, &mut window, &header, seconds(10)), Some(Cut::Header));
    }

    #[test]
    fn a_slow_body_is_cut_and_a_fast_one_is_not() {
        let mut window = RateWindow::default();
        let open = Observed { requests_open: 1, waiting: true, ..IDLE };
        for second in 0..5 {
            let slow = Observed { moved: second, ..open };
            assert_eq!(verdict(&PATIENCE, &mut window, &slow, seconds(second)), None);
        }
        let slow = Observed { moved: 4_999, ..open };
        assert_eq!(verdict(&PATIENCE, &mut window, &slow, seconds(5)), Some(Cut::Slow));
        let mut window = RateWindow::default();
        for second in 0..100 {
            let steady = Observed { moved: second * 1_000, ..open };
            assert_eq!(verdict(&PATIENCE, &mut window, &steady, seconds(second)), None);
        }
    }

    #[test]
    fn time_that_is_the_nodes_own_does_not_count() {
        let mut window = RateWindow::default();
        let busy = Observed { requests_open: 1, ..IDLE };
        assert_eq!(verdict(&PATIENCE, &mut window, &busy, seconds(1_000)), None);
        let waiting = Observed { waiting: true, ..busy };
        assert_eq!(verdict(&PATIENCE, &mut window, &waiting, seconds(1_001)), None);
        assert_eq!(verdict(&PATIENCE, &mut window, &busy, seconds(1_004)), None);
        assert_eq!(verdict(&PATIENCE, &mut window, &waiting, seconds(1_005)), None);
        assert_eq!(verdict(&PATIENCE, &mut window, &waiting, seconds(1_009)), None);
        assert_eq!(verdict(&PATIENCE, &mut window, &waiting, seconds(1_010)), Some(Cut::Slow));
    }
}
