//! Putting a client together.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::{
    auth::{Anonymous, Authorizer, Credentials},
    budget::Budget,
    client::Client,
    directory::Directory,
    engine::Engine,
    entropy::Entropy,
    error::BuildError,
    exchange::Wires,
    latency::Latency,
    limits::Limits,
    net::{
        pool::Pool,
        tls::{Tls, TlsSettings},
        transport::{TcpTransport, Transport},
    },
    placement::{Placement, ReadPolicy},
    pull::UNIT_BYTES,
    seed::Seed,
    spool::{DirSpool, Spool},
    stats::Counters,
};

/// Settings of a client that is not there yet.
pub struct ClientBuilder {
    seeds: Vec<Seed>,
    credentials: Arc<dyn Credentials>,
    limits: Limits,
    transport: Arc<dyn Transport>,
    spool: Option<Arc<dyn Spool>>,
    tls: TlsSettings,
    user_agent: String,
    policy: ReadPolicy,
    random_seed: Option<u64>,
    registry: Option<String>,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(seeds: Vec<Seed>) -> ClientBuilder {
        ClientBuilder {
            seeds,
            credentials: Arc::new(Anonymous),
            limits: Limits::default(),
            transport: Arc::new(TcpTransport),
            spool: None,
            tls: TlsSettings::default(),
            user_agent: concat!("atoll-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            policy: ReadPolicy::default(),
            random_seed: None,
            registry: None,
        }
    }

    /// Who knows the passwords. Without it nobody does.
    #[must_use]
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// What may be used, and how long is waited.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Another door to the network.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// Another place for content that is not verified yet than [`Limits::spool_dir`].
    #[must_use]
    pub fn spool(mut self, spool: Arc<dyn Spool>) -> Self {
        self.spool = Some(spool);
        self
    }

    /// Whom to believe, and what may be spoken to in the clear.
    #[must_use]
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = tls;
        self
    }

    /// What the client calls itself.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Which replica is read first.
    #[must_use]
    pub fn read_policy(mut self, policy: ReadPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Fixes all random choices: one seed, one sequence.
    #[must_use]
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.random_seed = Some(seed);
        self
    }

    /// The registry's name, by which credentials are looked up, when it is not the first seed's.
    #[must_use]
    pub fn registry(mut self, name: impl Into<String>) -> Self {
        self.registry = Some(name.into());
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no seed, one is no address, or a file with certificates cannot be used.
    pub fn build(self) -> Result<Client, BuildError> {
        let insecure_http = self.tls.insecure_http;
        let mut seeds = Vec::new();
        for seed in self.seeds {
            let endpoint = seed.endpoint(insecure_http)?;
            seeds.push((seed, endpoint));
        }
        let Some((_, first)) = seeds.first() else { return Err(BuildError::NoSeeds) };
        let registry = self.registry.unwrap_or_else(|| first.authority());
        let user_agent = HeaderValue::try_from(&self.user_agent)
            .map_err(|_| BuildError::UserAgent(self.user_agent.clone()))?;
        let limits = Arc::new(self.limits.sane());
        let random = self.random_seed.map_or_else(Entropy::of_the_process, Entropy::seeded);
        let entropy = Arc::new(random);
        let tls = Tls::new(&self.tls)?;
        let pool = Arc::new(Pool::new(self.transport, tls, limits.clone()));
        let spool = self.spool.unwrap_or_else(|| Arc::new(DirSpool(limits.spool_dir.clone())));
        let units = limits.bytes_in_flight_max.div_ceil(UNIT_BYTES);
        let units = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        let wires = Wires {
            pool,
            limits: limits.clone(),
            counters: Arc::new(Counters::default()),
            user_agent,
            insecure_http,
        };
        let engine = Engine {
            seeds,
            wires,
            authorizer: Authorizer::new(registry, self.credentials),
            directory: Directory::default(),
            placement: Placement::new(self.policy, entropy.clone()),
            entropy,
            latency: Latency::new(limits.hedge_after_min),
            hedges: Budget::new(limits.hedges_per_hundred),
            retries: Budget::new(limits.retries_per_hundred),
            spool,
            room: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            refreshing: AsyncMutex::new(()),
        };
        Ok(Client { engine: Arc::new(engine) })
    }
}
