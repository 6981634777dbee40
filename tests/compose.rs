//! `docker-compose.yml` as a person runs it: the unchanged file, in Docker, with images that `tests/compose/images` brought.
//!
//! One test, since it is one deployment: each stage is a module, and prints how long it took. Everything runs under a
//! project name of its own, and is removed at the end, with its volumes.

#[cfg(test)]
mod compose {
    mod alerts;
    #[path = "../peers/firing.rs"]
    mod firing;
    #[path = "../peers/graphite_api.rs"]
    #[expect(dead_code, reason = "the peers suite reads names and tags too")]
    mod graphite_api;
    mod hardening;
    mod history;
    #[path = "../peers/installed.rs"]
    #[expect(dead_code, reason = "the peers suite runs scripts too")]
    mod installed;
    #[path = "../peers/jaeger.rs"]
    #[expect(dead_code, reason = "the peers suite asks for single traces too")]
    mod jaeger;
    mod mistakes;
    mod outages;
    mod pages;
    mod points;
    #[path = "../peers/process.rs"]
    #[expect(dead_code, reason = "the peers suite starts processes too")]
    mod process;
    mod profiles;
    #[path = "../peers/prometheus.rs"]
    #[expect(dead_code, reason = "the peers suite starts one too")]
    mod prometheus;
    mod readme;
    mod stack;
    mod views;
    mod visitors;
    #[path = "../peers/web.rs"]
    #[expect(dead_code, reason = "the peers suite sends more")]
    mod web;

    use std::time::Instant;

    use stack::Stack;

    #[test]
    fn docker_compose_up_as_a_person_runs_it() {
        let mut stack = Stack::build();
        stage("the README's three acts", || readme::holds(&stack));
        stage("the figures of every view", views::agree);
        stage("the pages that a reader opens", || pages::open(&stack));
        stage("the containers are closed", || hardening::holds(&stack));
        stage("each container killed under load", || outages::are_outlived(&stack));
        stage("the profiles", || profiles::send(&mut stack));
        stage("each fault and its alerts", || alerts::are_those_of_the_runbook(&stack));
        stage("down and up", || history::is_kept(&mut stack));
        stage("mistakes", || mistakes::are_named(&stack));
    }

    fn stage(name: &str, run: impl FnOnce()) {
        let from = Instant::now();
        run();
        eprintln!("{name}: {:.1} s", from.elapsed().as_secs_f64());
    }
}
