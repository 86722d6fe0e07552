use super::*;
use crate::admin::{NodeReport, OpenConfiguration, StagedPlan, report::Disk};

/// Three nodes that are well.
fn well() -> Status {
    let node = |id| NodeStatus {
        id,
        state: NodeState::Up,
        in_ring: true,
        voter: true,
        report: Some(NodeReport {
            epoch: 9,
            lease_valid: true,
            disk: Disk { total_bytes: 1000, available_bytes: 500, full: false },
            ..NodeReport::default()
        }),
        ..NodeStatus::default()
    };
    let mut status = Status {
        epoch: 9,
        replicas: 3,
        write_quorum: 2,
        nodes: (1..=3).map(node).collect(),
        ..Status::default()
    };
    status.coordination.leader = Some(1);
    status
}

/// Judges three nodes after `harm`, and answers the word and the codes.
fn judged(harm: impl FnOnce(&mut Status)) -> (Health, Vec<String>) {
    let mut status = well();
    harm(&mut status);
    status.judge();
    (status.health, status.problems.into_iter().map(|problem| problem.code).collect())
}

fn down(status: &mut Status, id: u16) {
    let node = &mut status.nodes[usize::from(id) - 1];
    node.state = NodeState::Down;
    node.report = None;
}

#[test]
fn nothing_wrong_is_ok() {
    assert_eq!(judged(|_| {}), (Health::Ok, vec![]));
}

#[test]
fn one_dead_node_degrades_and_two_are_critical() {
    let (health, codes) = judged(|status| down(status, 2));
    assert_eq!(health, Health::Degraded);
    assert_eq!(codes, ["voter_down", "node_down"]);
    let (health, codes) = judged(|status| {
        down(status, 2);
        down(status, 3);
    });
    assert_eq!(health, Health::Critical);
    assert_eq!(codes[0], "no_quorum");
}

#[test]
fn a_dead_node_that_holds_nothing_is_worth_a_note() {
    let (health, codes) = judged(|status| {
        let mut gone = status.nodes[0].clone();
        (gone.id, gone.in_ring, gone.voter, gone.report) = (4, false, false, None);
        gone.state = NodeState::Down;
        status.nodes.push(gone);
    });
    assert_eq!((health, codes), (Health::Ok, vec!["node_down".to_owned()]));
}

#[test]
fn each_single_fact_is_named() {
    type Harm = fn(&mut Status);
    fn report(status: &mut Status) -> &mut NodeReport {
        status.nodes[1].report.as_mut().expect("a report")
    }
    let cases: [(Harm, Health, &str); 9] = [
        (|status| status.coordination.leader = None, Health::Critical, "no_leader"),
        (|status| status.replicas = 5, Health::Degraded, "few_nodes"),
        (|status| report(status).lease_valid = false, Health::Degraded, "fenced"),
        (|status| report(status).epoch = 8, Health::Working, "behind"),
        (|status| report(status).disk.full = true, Health::Degraded, "disk_full"),
        (|status| report(status).disk.available_bytes = 100, Health::Ok, "disk_low"),
        (|status| report(status).repair.under_replicated = 1, Health::Degraded, "under_replicated"),
        (|status| report(status).scrub.damaged = 1, Health::Degraded, "damage"),
        (|status| status.plan = Some(StagedPlan::default()), Health::Ok, "plan_staged"),
    ];
    for (harm, health, code) in cases {
        assert_eq!(judged(harm), (health, vec![code.to_owned()]));
    }
    let (health, codes) = judged(|status| {
        status.nodes[2].report = None;
        status.nodes[2].unreachable = Some("no answer within 2s".to_owned());
    });
    assert_eq!((health, codes), (Health::Degraded, vec!["node_silent".to_owned()]));
}

#[test]
fn a_moving_ring_is_work_and_a_restart_is_not() {
    let open = |ring_differs| OpenConfiguration { ring_differs, ..OpenConfiguration::default() };
    assert_eq!(judged(|status| status.open.push(open(false))).0, Health::Ok);
    assert_eq!(judged(|status| status.open.push(open(true))).0, Health::Working);
}
