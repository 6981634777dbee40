use super::*;

const BOUNDS: Bounds = Bounds {
    first_byte: Duration::from_secs(1),
    handshake: Duration::from_secs(2),
    head: Duration::from_secs(3),
    body: Duration::from_secs(4),
    idle: Duration::from_secs(5),
    stalled: Duration::from_secs(6),
    ping: Duration::from_secs(7),
    pong: Duration::from_secs(8),
    parting: Duration::from_secs(9),
};

/// Seconds until it is due, counted from its own clock.
fn bound(activity: &Activity) -> Option<u64> {
    let state = activity.state.lock();
    let taking = state.sending > 0 || state.unsent > 0;
    let from = if taking { state.taken } else { state.head.map_or(state.idle, |head| head.max(state.idle)) };
    state.due(&BOUNDS).map(|(due, _)| (due - from).as_secs())
}

#[test]
fn each_step_has_a_bound_of_its_own() {
    let activity = Activity::new();
    assert_eq!(bound(&activity), Some(1), "a first byte");
    activity.read(b"P");
    assert_eq!(bound(&activity), Some(3), "a head, or a preface");
    activity.read(b"OST / HTTP/1.1\r\n");
    assert_eq!(bound(&activity), Some(3), "the same head");
    activity.read(b"Content-Length: 4\r\n\r\n");
    let mut exchange = Exchange::begin(&activity);
    assert_eq!(bound(&activity), None, "the handler");
    activity.read(b"body");
    exchange.has_answer_to_send();
    assert_eq!(bound(&activity), Some(6), "an answer that the client is to take");
    exchange.waits_for_answer();
    assert_eq!(bound(&activity), None, "an answer that is being made");
    exchange.has_answer_to_send();
    let unsent = Unsent::begin(&exchange);
    drop(exchange);
    assert_eq!(bound(&activity), Some(6), "the rest of an answer that was made to its end");
    drop(unsent);
    assert_eq!(bound(&activity), Some(5), "no request");
    activity.read(b"G");
    assert_eq!(bound(&activity), Some(3), "the next head");
}

#[test]
fn a_head_that_comes_ahead_of_an_answer_has_its_bound_after_it() {
    for second in [&b"G"[..], b"GET / HTTP/1.1\r\nHost: t"] {
        for at_once in [true, false] {
            let activity = Activity::new();
            let first = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
            activity.read(&[&first[..], if at_once { second } else { b"" }].concat());
            let exchange = Exchange::begin(&activity);
            if !at_once {
                activity.read(second);
            }
            assert_eq!(bound(&activity), None);
            drop(exchange);
            assert_eq!(bound(&activity), Some(3), "{second:?}");
        }
    }
}

#[test]
fn the_preface_of_http2_is_no_head() {
    for at in 0..PREFACE.len() {
        let activity = Activity::new();
        activity.read(&PREFACE[..at]);
        assert_eq!(activity.overdue(&BOUNDS), None);
        activity.read(&PREFACE[at..]);
        activity.read(b"settings");
        assert_eq!(bound(&activity), Some(5), "cut at {at}");
    }
}

fn evicted_at(activity: &Activity, milliseconds: u64) -> Eviction {
    activity.eviction(Instant::now() + Duration::from_millis(milliseconds), 1)
}

#[test]
fn a_complete_request_that_is_being_answered_keeps_its_place() {
    let activity = Activity::new();
    assert!(matches!(evicted_at(&activity, 9_999), Eviction::From(..)), "what it sent was not read yet");
    activity.start(false);
    assert!(matches!(evicted_at(&activity, 0), Eviction::From(_, Standing::Silent(_))));
    assert!(matches!(evicted_at(&activity, 101), Eviction::Now(Standing::Silent(_))));
    let mut exchange = Exchange::begin(&activity);
    let partial = Partial::begin(&activity);
    assert!(
        matches!(evicted_at(&activity, 101), Eviction::From(_, Standing::Silent(_))),
        "its body is not here"
    );
    assert!(matches!(evicted_at(&activity, 251), Eviction::Now(Standing::Silent(_))));
    partial.is_complete();
    drop(partial);
    assert_eq!(evicted_at(&activity, 9_999), Eviction::Never);
    exchange.has_answer_to_send();
    let unsent = Unsent::begin(&exchange);
    assert!(matches!(evicted_at(&activity, 0), Eviction::From(_, Standing::Asked(_))), "it takes the answer");
    assert!(
        matches!(evicted_at(&activity, 251), Eviction::Now(Standing::Asked(_))),
        "it takes nothing of it"
    );
    unsent.took(1);
    assert!(matches!(evicted_at(&activity, 251), Eviction::From(_, Standing::Asked(_))));
    assert!(matches!(evicted_at(&activity, 501), Eviction::Now(Standing::Asked(_))), "it takes no more");
    unsent.took(PORTION);
    activity.evict(1);
    assert!(activity.overdue(&BOUNDS).is_none(), "an evicted one is answered to the end");
    drop((unsent, exchange));
    assert_eq!(activity.overdue(&BOUNDS), Some(Overdue::Stuck));
}

#[test]
fn a_byte_now_and_then_is_not_taking() {
    let activity = Activity::new();
    let mut exchange = Exchange::begin(&activity);
    exchange.has_answer_to_send();
    let unsent = Unsent::begin(&exchange);
    unsent.took(1);
    let before = activity.state.lock().portion.0;
    (2..PORTION).for_each(|_| unsent.took(1));
    assert_eq!(activity.state.lock().portion.0, before);
    unsent.took(1);
    assert!(activity.state.lock().portion.0 > before);
}

#[test]
fn a_sender_that_begins_its_next_request_has_a_moment_for_it_once() {
    let activity = Activity::new();
    activity.start(false);
    let request = b"GET / HTTP/1.1\r\n\r\n";
    activity.read(request);
    Exchange::begin(&activity).has_answer_to_send();
    assert!(matches!(evicted_at(&activity, 0), Eviction::Now(Standing::Asked(_))));
    activity.read(b"G");
    let begun = evicted_at(&activity, 0);
    assert!(matches!(begun, Eviction::From(_, Standing::Asked(_))));
    activity.read(b"E");
    assert_eq!(evicted_at(&activity, 0), begun);
}
