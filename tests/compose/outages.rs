//! Each container killed under load, one after another: the engine starts it again by its policy, and nothing is lost that
//! was acknowledged.

use std::time::Instant;

use super::points::Points;
use super::stack::Stack;
use super::views;
use super::visitors::{Visit, Visitors};

const VICTIMS: [&str; 8] =
    ["app", "postgres", "otel-collector", "graphite-bridge", "graphite", "prometheus", "jaeger", "grafana"];

/// Holds that no request fails but those to a killed app, and those of the database while that is away; that every point
/// for which the bridge answered OK is in Graphite; and that all views agree afterwards.
pub(super) fn are_outlived(stack: &Stack) {
    let (visitors, points) = (Visitors::come(), Points::send("proof.outages"));
    visitors.more(10);
    let mut outages = Vec::new();
    for victim in VICTIMS {
        let from = Instant::now();
        stack.kill(victim);
        // Answers from behind the outage: connections that were cut have been replaced.
        visitors.more(3);
        eprintln!("  {:.1} s  {victim}", from.elapsed().as_secs_f64());
        outages.push((victim, from..Instant::now()));
    }
    let visits = visitors.go();
    for Visit { sent, path, failure } in &visits {
        let Some(failure) = failure else { continue };
        let excused = outages.iter().any(|(victim, during)| {
            during.contains(sent) && (*victim == "app" || *victim == "postgres" && *path == "/database/")
        });
        let during: Vec<_> =
            outages.iter().filter(|(_, during)| during.contains(sent)).map(|(name, _)| name).collect();
        assert!(excused, "{path} failed while {during:?} was away: {failure}");
    }
    let acknowledged = points.are_all_in_graphite();
    eprintln!("  {} requests, {acknowledged} points acknowledged and in Graphite", visits.len());
    views::agree();
}
