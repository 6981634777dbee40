//! Labels of the instrumentation scope: by default on what `collect` shows and on nothing of `serve`.

use crate::process::{Launch, eventually};

const SCOPE: &str = "otel_scope_name=\"pushpull\"";

#[test]
fn serve_shows_scopes_on_both_of_its_pages_only_where_they_are_asked_for() {
    for (arguments, shown) in [(&[][..], false), (&["--exposition-scope", "on"][..], true)] {
        let program = Launch::serve().exporting_often().quick_database().arguments(arguments).start();
        program.get("/");
        let pushed = eventually("the request", || {
            let pushed = program.pushed();
            (pushed.sum("requests_total", &["endpoint=\"/\""]) == 1.0).then_some(pushed)
        });
        for page in [program.get("/metrics/"), pushed] {
            assert_eq!(page.sum("requests_total", &["endpoint=\"/\"", SCOPE]) == 1.0, shown, "{}", page.body);
            assert_eq!(page.body.contains("otel_scope_"), shown, "{}", page.body);
        }
    }
}

#[test]
fn collect_shows_scopes_unless_they_are_switched_off() {
    for (arguments, shown) in [(&[][..], true), (&["--exposition-scope", "off"][..], false)] {
        let collector = Launch::collect().arguments(arguments).start();
        let endpoint = format!("http://{}", collector.address("otlp_grpc"));
        let launch = Launch::serve().exporting_often().quick_database();
        let service = launch.variable("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).start();
        service.get("/");
        let page = eventually("the request", || {
            let page = collector.pushed();
            (page.sum("requests_total", &["endpoint=\"/\""]) == 1.0).then_some(page)
        });
        assert_eq!(page.body.contains(SCOPE), shown, "{}", page.body);
        assert_eq!(page.sum("requests_total", &["endpoint=\"/\"", "job=\"pushpull\""]), 1.0);
    }
}
