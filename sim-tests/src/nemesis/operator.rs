//! What operators do while others break things: machines join, leave, take another's place.
//!
//! An operator who is refused, or does not get an answer, gives up: then the cluster goes on as it is.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Nemesis, squad::wait_patiently};
use crate::{
    client::{Client, whole},
    cluster::{Machine, fleet::Fleet},
    history::Book,
    trace,
};

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a question is asked, each time of another node.
const ATTEMPTS: usize = 6;

/// How often a replacement is ordered, which waits for a quorum that may be away.
const REPLACE_ATTEMPTS: usize = 20;

/// How often a drain is called off, which waits for a quorum that may be away.
const CALL_OFF_ATTEMPTS: usize = 20;

/// How long a drain may take before it is called off.
const DRAIN: Duration = Duration::from_secs(40);

/// How long between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// An operator.
pub struct Operator {
    /// The machines.
    pub fleet: Fleet,
    /// What everybody did.
    pub book: Book,
}

impl Operator {
    /// One more machine joins, by the door of `at`.
    pub async fn join(&self, at: &Machine) -> Machine {
        let newcomer = self.fleet.enlist(Some(at));
        let is_in = wait_patiently(&newcomer).await;
        trace::note("operator", format_args!("{} joined: {is_in}", newcomer.name()));
        newcomer
    }

    /// The machine hands over what it has, is removed, and is switched off.
    pub async fn drain(&self, machine: &Machine) {
        if self.hand_over(machine).await && !self.remove(machine).await {
            self.call_off(machine).await;
        }
    }

    /// The machine hands over what it has and stays a member that owns nothing. Answers whether it did.
    pub async fn hand_over(&self, machine: &Machine) -> bool {
        let name = machine.name();
        if self.order(&format!("/v1/nodes/{name}/drain"), None, machine).await.is_none() {
            return false;
        }
        let begun = tokio::time::Instant::now();
        while !self.is_safe_to_stop(machine).await {
            if begun.elapsed() > DRAIN {
                self.call_off(machine).await;
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Removes a machine that has handed over, and switches it off. Answers whether it did: the ring may
    /// be moving for another reason by now.
    pub async fn remove(&self, machine: &Machine) -> bool {
        let path = format!("/v1/nodes/{}/remove", machine.name());
        let is_removed = self.order(&path, None, machine).await.is_some();
        if is_removed {
            self.book.lock().count("machines that left");
            self.fleet.retire(machine.number);
            machine.kill().await;
        }
        is_removed
    }

    /// The machine stays: else it would be a member that owns nothing when all is over.
    async fn call_off(&self, machine: &Machine) {
        let name = machine.name();
        for _ in 0..CALL_OFF_ATTEMPTS {
            if self.order(&format!("/v1/nodes/{name}/undrain"), None, machine).await.is_some() {
                break;
            }
        }
        self.note(format_args!("{name}: the drain is called off"));
    }

    /// The machine is lost with its disk, and another takes its place.
    pub async fn replace(&self, nemesis: &mut Nemesis) {
        let lost = nemesis.machine.clone();
        let Some(at) = nemesis.others.first() else { return };
        lost.kill().await;
        self.fleet.retire(lost.number);
        let newcomer = self.join(at).await;
        let begun = tokio::time::Instant::now();
        while self.holds_up(&lost) && begun.elapsed() < PATIENCE * 6 {
            tokio::time::sleep(LOOK).await;
        }
        let path = format!("/v1/nodes/{}/replace", lost.name());
        let by = json!({ "by": newcomer.name() });
        // Until it is done the cluster has a dead member, so nobody gives up soon.
        for _ in 0..REPLACE_ATTEMPTS {
            if self.order(&path, Some(by.clone()), &lost).await.is_some() {
                return self.book.lock().count("machines replaced");
            }
        }
        let text = format!("{} cannot be replaced by {}", lost.name(), newcomer.name());
        self.book.lock().violation(text);
    }

    /// Does any node believe that this one is up?
    fn holds_up(&self, machine: &Machine) -> bool {
        self.fleet.machines().iter().filter_map(Machine::view).any(|view| {
            let mut members = view.members.values();
            members.any(|member| member.name == machine.name() && member.is_up())
        })
    }

    /// Who leads the group that agrees on views, as far as a node knows.
    pub async fn leader(&self, at: &Machine) -> Option<Machine> {
        let status = ask(at, Method::GET, "/v1/status", None).await?;
        let number = status.pointer("/coordination/leader")?.as_u64()?;
        let view = at.view()?;
        let node = atoll_core::view::NodeId(u16::try_from(number).ok()?);
        self.fleet.machine_of(&view, node)
    }

    async fn is_safe_to_stop(&self, machine: &Machine) -> bool {
        for at in self.others(machine).into_iter().take(2) {
            let Some(status) = ask(&at, Method::GET, "/v1/status", None).await else { continue };
            let nodes = status.pointer("/nodes").and_then(Value::as_array).cloned();
            let mut named = nodes.unwrap_or_default().into_iter();
            let node = named.find(|node| node["name"] == machine.name());
            return node.is_some_and(|node| node["safe_to_stop"] == true);
        }
        false
    }

    /// Asks one node after the other, except the one in question.
    async fn order(&self, path: &str, body: Option<Value>, about: &Machine) -> Option<Value> {
        for at in self.others(about).into_iter().cycle().take(ATTEMPTS) {
            if let Some(answer) = ask(&at, Method::POST, path, body.clone()).await {
                return Some(answer);
            }
            tokio::time::sleep(LOOK).await;
        }
        self.note(format_args!("{path}: given up"));
        None
    }

    fn others(&self, about: &Machine) -> Vec<Machine> {
        let mut machines = self.fleet.machines();
        machines.retain(|machine| machine.number != about.number);
        machines
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        trace::note("operator", what);
    }
}

/// One question at one node; nothing, unless it answers well.
async fn ask(at: &Machine, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
    let mut client = Client::new(at.admin, PATIENCE);
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let reply = client.send(method, path, &[], whole(body.into())).await;
    let status = match &reply {
        Ok(reply) => reply.status.to_string(),
        Err(error) => error.0.clone(),
    };
    let text = reply.as_ref().ok().map(|reply| String::from_utf8_lossy(&reply.body).into_owned());
    let reply = reply.ok().filter(|reply| reply.status.is_success());
    if reply.is_none() {
        let text = text.unwrap_or_default();
        trace::note("operator", format_args!("{path} at {} -> {status} {text}", at.name()));
    }
    serde_json::from_slice(&reply?.body).ok()
}
