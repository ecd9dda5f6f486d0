//! Goal: each time of a schedule comes once, also where clocks are put on and back; what never fires is refused; no
//! text makes it panic.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

fn ms(moment: &str) -> u64 {
    u64::try_from(moment.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
}

/// Its times from a moment on, and before another one.
fn times(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let timetable = Timetable::parse(expression, zone).unwrap();
    let all = timetable.next(ms(from) - 1, 200);
    let within = all.into_iter().take_while(|at| *at < ms(to));
    within.map(|at| timestamp(at).unwrap().to_string()).collect()
}

#[test]
fn an_hour_that_a_clock_leaves_out_fires_once_at_its_end() {
    for (expression, zone, from, to, expected) in [
        // 02:00 becomes 03:00 at 01:00 UTC.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-30T00:00:00Z",
            &["2026-03-29T01:00:00Z"][..],
        ),
        (
            "*/10 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-30T00:00:00Z",
            &["2026-03-29T01:00:00Z"],
        ),
        (
            "30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T12:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T12:00:00Z",
            &["2026-03-29T01:00:00Z"],
        ),
        (
            "30 1 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T12:00:00Z",
            &["2026-03-29T00:30:00Z"],
        ),
        // 02:00 becomes 03:00 at 07:00 UTC.
        (
            "15 2 * * *",
            "America/New_York",
            "2026-03-08T00:00:00Z",
            "2026-03-09T00:00:00Z",
            &["2026-03-08T07:00:00Z"],
        ),
        // 02:00 becomes 02:30 at 15:30 UTC of the day before.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            "2026-10-04T12:00:00Z",
            &["2026-10-03T15:30:00Z"],
        ),
        (
            "45 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            "2026-10-04T12:00:00Z",
            &["2026-10-03T15:45:00Z"],
        ),
    ] {
        assert_eq!(times(expression, zone, from, to), expected, "{expression} in {zone}");
    }
}

#[test]
fn an_hour_that_a_clock_shows_twice_fires_once() {
    for (expression, zone, from, to, expected) in [
        // 03:00 becomes 02:00 at 01:00 UTC.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T23:00:00Z",
            "2026-10-25T12:00:00Z",
            &["2026-10-25T00:30:00Z"][..],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T23:00:00Z",
            "2026-10-25T12:00:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-10-24T23:00:00Z",
            "2026-10-25T12:00:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"],
        ),
        // 02:00 becomes 01:00 at 06:00 UTC.
        (
            "30 1 * * *",
            "America/New_York",
            "2026-11-01T00:00:00Z",
            "2026-11-01T12:00:00Z",
            &["2026-11-01T05:30:00Z"],
        ),
        // 02:00 becomes 01:30 at 15:00 UTC of the day before.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00:00Z",
            "2026-04-05T12:00:00Z",
            &["2026-04-04T14:45:00Z"],
        ),
        (
            "0 2 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00:00Z",
            "2026-04-05T12:00:00Z",
            &["2026-04-04T15:30:00Z"],
        ),
    ] {
        assert_eq!(times(expression, zone, from, to), expected, "{expression} in {zone}");
    }
    // Who begins between the two has had it.
    let begun = times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T12:00:00Z");
    assert_eq!(begun, [""; 0]);
    let seconds = times("* * 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T12:00:00Z");
    assert_eq!(seconds, [""; 0], "an hour of seconds is passed over");
}

#[test]
fn what_fires_in_every_hour_fires_as_time_passes() {
    for (zone, from, hours) in [
        ("Europe/Berlin", "2026-03-28T12:00:00Z", 24),
        ("Europe/Berlin", "2026-10-24T12:00:00Z", 24),
        ("America/New_York", "2026-11-01T00:00:00Z", 24),
        ("UTC", "2026-11-01T00:00:00Z", 24),
    ] {
        let timetable = Timetable::parse("0 * * * *", zone).unwrap();
        let all = timetable.next(ms(from) - 1, hours);
        assert!(all.windows(2).all(|two| two[1] - two[0] == 3_600_000), "{zone}: {all:?}");
        let timetable = Timetable::parse("*/20 * * * * *", zone).unwrap();
        let all = timetable.next(ms(from) + 12 * 3_600_000, 1000);
        assert!(all.windows(2).all(|two| two[1] - two[0] == 20_000), "{zone}");
    }
    let half = times("0,30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", "2026-04-04T16:00:00Z");
    assert_eq!(half.len(), 4, "{half:?}");
}

#[test]
fn usual_expressions_have_the_times_that_people_expect() {
    for (expression, zone, expected) in [
        ("0 3 * * *", "", ["2026-11-27T03:00:00Z", "2026-11-28T03:00:00Z", "2026-11-29T03:00:00Z"]),
        (
            "0 3 * * *",
            "Europe/Berlin",
            ["2026-11-27T02:00:00Z", "2026-11-28T02:00:00Z", "2026-11-29T02:00:00Z"],
        ),
        ("@daily", "UTC", ["2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"]),
        ("@hourly", "UTC", ["2026-11-26T13:00:00Z", "2026-11-26T14:00:00Z", "2026-11-26T15:00:00Z"]),
        ("*/20 * * * * *", "UTC", ["2026-11-26T12:00:20Z", "2026-11-26T12:00:40Z", "2026-11-26T12:01:00Z"]),
        ("0 9 * * MON-FRI", "UTC", ["2026-11-27T09:00:00Z", "2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"]),
        ("0 0 29 2 *", "UTC", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z"]),
    ] {
        let now_ms = ms("2026-11-26T12:00:00Z");
        let next = Timetable::wanted(expression, zone, now_ms).unwrap().next(now_ms, 3);
        assert_eq!(next, expected.map(ms), "{expression}");
    }
}

#[test]
fn what_has_no_times_is_refused_by_name() {
    let wanted = |expression: &str, zone: &str| {
        let error = Timetable::wanted(expression, zone, ms("2026-11-26T12:00:00Z")).unwrap_err();
        assert!(!error.to_string().ends_with('.'), "{error}");
        error
    };
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 *"] {
        assert_eq!(wanted(never, ""), CronError::Never(never.to_owned()));
    }
    for zone in ["Europe/Atlantis", "europe", "/etc/localtime", "Etc/Unknown", "\0"] {
        assert_eq!(wanted("* * * * *", zone), CronError::Zone(zone.to_owned()));
    }
    for wrong in [
        "",
        "* * * *",
        "60 * * * *",
        "* * * * * * 2026",
        "@reboot",
        "a b c d e",
        "*/0 * * * *",
        "5-1 * * * *",
    ] {
        assert!(matches!(wanted(wrong, ""), CronError::Expression { .. }), "{wrong}");
    }
    assert_eq!(wanted(&" *".repeat(200), ""), CronError::TooLong(400));
}

#[test]
fn no_text_makes_it_panic_and_times_go_on() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut luck = StdRng::seed_from_u64(seed);
    let letters: Vec<char> = "0123456789*,-/?LW#+@ \u{e9}MONJAN".chars().collect();
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Africa/Casablanca"];
    let mut fired = 0;
    for round in 0..4000 {
        let mut field = || {
            let length = luck.random_range(1..5);
            (0..length).map(|_| letters[luck.random_range(0..letters.len())]).collect::<String>()
        };
        let wild: String = (0..5).map(|_| field() + " ").collect();
        let minutes = luck.random_range(1..60);
        let usual = format!("*/{minutes} {} * * *", ["*", "2", "1-3"][luck.random_range(0..3)]);
        let text = if round % 2 == 0 { wild } else { usual };
        let zone = zones[luck.random_range(0..zones.len())];
        let from = ms("2026-01-01T00:00:00Z") + luck.random_range(0..400 * 86_400_000_u64);
        let Ok(timetable) = Timetable::wanted(&text, zone, from) else { continue };
        let times = timetable.next(from, 5);
        fired += 1;
        assert!(times.first().is_some_and(|first| *first > from), "{text}");
        assert!(times.windows(2).all(|two| two[0] < two[1]), "{text}: {times:?}");
        // Where it is asked between two times it says the second one.
        if let [one, two, ..] = times[..] {
            assert_eq!(timetable.after(luck.random_range(one..two)), Some(two), "{text} in {zone}");
        }
    }
    assert!(fired > 1500, "only {fired} were read: the test does not see what it should");
}
