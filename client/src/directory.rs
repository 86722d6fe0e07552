//! What the client knows of the cluster: the view, who failed lately, and whether the addresses in
//! the view can be reached from here at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use atoll_core::view::{Epoch, NodeId, View};
use tokio::time::Instant;

use crate::{Digest, clock::now, endpoint::Endpoint};

/// How long the addresses of a name are believed.
const RESOLVED_FOR: Duration = Duration::from_secs(30);
/// How long a registry that knows no view is taken for one that is no Atoll.
const PLAIN_FOR: Duration = Duration::from_secs(300);
/// How long a node that sent wrong content is asked last for it: repair takes minutes.
const DISTRUSTED_FOR: Duration = Duration::from_secs(600);
/// Digests for which somebody is distrusted; beyond it no more are remembered.
const DISTRUSTED_MAX: usize = 1024;
/// Suspects that are remembered; the oldest suspicion ends first anyway.
const SUSPECTS_MAX: usize = 4096;

/// A view and how it is asked for again.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) view: Arc<View>,
    /// The entity tag it came with.
    pub(crate) etag: Option<String>,
    /// Where the members are reached.
    pub(crate) endpoints: Arc<BTreeMap<NodeId, Endpoint>>,
}

impl Known {
    /// Members are reached as the seeds are, in the clear or over TLS. One whose address cannot be
    /// read is not reached.
    pub(crate) fn new(view: View, etag: Option<String>, tls: bool) -> Known {
        let endpoint = |http: &str| {
            let parsed = Endpoint::parse(http, !tls).ok()?;
            Some(Endpoint { tls, ..parsed })
        };
        let members = view.members.iter();
        let endpoints = members.filter_map(|(node, member)| Some((*node, endpoint(&member.http)?)));
        let endpoints = Arc::new(endpoints.collect());
        Known { view: Arc::new(view), etag, endpoints }
    }
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// The highest epoch that any answer named.
    heard: Epoch,
    checked_at: Option<Instant>,
    plain_until: Option<Instant>,
    behind_until: Option<Instant>,
    suspects: BTreeMap<Endpoint, Instant>,
    resolved: Option<(Instant, Vec<Endpoint>)>,
    /// Who sent wrong content for a digest.
    distrusted: BTreeMap<Digest, BTreeMap<Endpoint, Instant>>,
}

/// One mutex, held for look-ups only.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<State>);

impl Directory {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn known(&self) -> Option<Known> {
        self.with(|state| state.known.clone())
    }

    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.with(|state| state.known.as_ref().map(|known| known.view.clone()))
    }

    /// Adopts a view if it is newer, or another cluster's. Was it adopted?
    pub(crate) fn adopt(&self, new: Known) -> bool {
        self.with(|state| {
            state.checked_at = Some(now());
            state.plain_until = None;
            let is_news = state.known.as_ref().is_none_or(|known| {
                known.view.cluster_id != new.view.cluster_id || known.view.epoch < new.view.epoch
            });
            if is_news {
                state.heard = new.view.epoch;
                state.known = Some(new);
            }
            is_news
        })
    }

    /// The view was looked at and is still the newest.
    pub(crate) fn still_good(&self) {
        self.with(|state| {
            state.checked_at = Some(now());
            if let Some(known) = &state.known {
                // A node that is behind may have answered: whoever was ahead will say so again.
                state.heard = known.view.epoch;
            }
        });
    }

    /// The registry knows no view.
    pub(crate) fn is_plain(&self) {
        self.with(|state| {
            state.known = None;
            state.plain_until = Some(now() + PLAIN_FOR);
        });
    }

    /// Must a view be had before anything is placed?
    pub(crate) fn needs_view(&self) -> bool {
        let at = now();
        self.with(|state| {
            state.known.is_none() && state.plain_until.is_none_or(|until| until <= at)
        })
    }

    /// An answer named an epoch. Is it news?
    pub(crate) fn heard(&self, epoch: Epoch) -> bool {
        self.with(|state| {
            let is_news = state.known.is_some() && epoch > state.heard;
            if is_news {
                state.heard = epoch;
            }
            is_news
        })
    }

    /// Is the view older than `age_max`? Answers yes once, then the check counts as made.
    pub(crate) fn is_due(&self, age_max: Duration) -> bool {
        self.with(|state| {
            let is_due =
                state.known.is_some() && state.checked_at.is_none_or(|at| at.elapsed() >= age_max);
            if is_due {
                state.checked_at = Some(now());
            }
            is_due
        })
    }

    pub(crate) fn suspect(&self, endpoint: &Endpoint, lasts: Duration) {
        let at = now();
        self.with(|state| {
            if state.suspects.len() >= SUSPECTS_MAX {
                state.suspects.retain(|_, until| *until > at);
            }
            if state.suspects.len() < SUSPECTS_MAX {
                state.suspects.insert(endpoint.clone(), at + lasts);
            }
        });
    }

    pub(crate) fn trust(&self, endpoint: &Endpoint) {
        self.with(|state| state.suspects.remove(endpoint));
    }

    pub(crate) fn is_suspect(&self, endpoint: &Endpoint) -> bool {
        let at = now();
        self.with(|state| state.suspects.get(endpoint).is_some_and(|until| *until > at))
    }

    /// The suspects among the members.
    pub(crate) fn suspects(&self, members: &BTreeMap<NodeId, Endpoint>) -> BTreeSet<NodeId> {
        let at = now();
        self.with(|state| {
            if state.suspects.is_empty() {
                return BTreeSet::new();
            }
            let is_suspect =
                |endpoint| state.suspects.get(endpoint).is_some_and(|until| *until > at);
            let found = members.iter().filter(|(_, endpoint)| is_suspect(*endpoint));
            found.map(|(node, _)| *node).collect()
        })
    }

    /// The node sent something else for this digest.
    pub(crate) fn distrust(&self, digest: &Digest, endpoint: &Endpoint) {
        let at = now();
        self.with(|state| {
            if state.distrusted.len() >= DISTRUSTED_MAX {
                state.distrusted.retain(|_, nodes| nodes.values().any(|until| *until > at));
            }
            if state.distrusted.len() < DISTRUSTED_MAX {
                let nodes = state.distrusted.entry(*digest).or_default();
                nodes.insert(endpoint.clone(), at + DISTRUSTED_FOR);
            }
        });
    }

    /// Who is distrusted for this digest.
    pub(crate) fn distrusted(&self, digest: &Digest) -> Vec<Endpoint> {
        let at = now();
        self.with(|state| {
            let nodes = state.distrusted.get(digest).into_iter().flatten();
            nodes.filter(|(_, until)| **until > at).map(|(node, _)| node.clone()).collect()
        })
    }

    /// Only the seeds can be reached from here.
    pub(crate) fn set_behind(&self, lasts: Duration) {
        self.with(|state| state.behind_until = Some(now() + lasts));
    }

    pub(crate) fn is_behind(&self) -> bool {
        let at = now();
        self.with(|state| state.behind_until.is_some_and(|until| until > at))
    }

    /// The seeds with their names resolved, while that is fresh.
    pub(crate) fn resolved(&self) -> Option<Vec<Endpoint>> {
        self.with(|state| {
            let (at, endpoints) = state.resolved.as_ref()?;
            (at.elapsed() < RESOLVED_FOR).then(|| endpoints.clone())
        })
    }

    pub(crate) fn set_resolved(&self, endpoints: Vec<Endpoint>) {
        self.with(|state| state.resolved = Some((now(), endpoints)));
    }
}
