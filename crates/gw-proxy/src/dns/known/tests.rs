//! What is believed of a name after histories of answers, told second by second.

use std::io;

use super::*;

/// A look-up at a second since the start, and what it brought.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// This address, for so many seconds.
    Is(&'static str, u64),
    /// There is no such name.
    No,
    /// An answer without addresses.
    Empty,
    /// Nothing of use.
    Fails,
}

use Said::{Empty, Fails, Is, No};

fn result(said: Said) -> Result<Answer, ResolveError> {
    match said {
        Is(ip, ttl) => Ok(Answer::addresses(
            vec![ip.parse().unwrap()],
            Duration::from_secs(ttl),
        )),
        Empty => Ok(Answer::addresses(Vec::new(), Duration::from_secs(60))),
        No => Err(ResolveError::NotFound { name: "app".into() }),
        Fails => Err(ResolveError::Failed {
            name: "app".into(),
            source: io::ErrorKind::TimedOut.into(),
        }),
    }
}

/// Plays a history without any jitter; returns what is known, with the pauses and how often there was news.
fn play(settings: &DnsSettings, history: &[(u64, Said)]) -> (Known, Vec<f64>, usize) {
    let (start, mut known) = (Instant::now(), Known::default());
    let (mut pauses, mut news) = (Vec::new(), 0);
    for &(second, said) in history {
        let now = start + Duration::from_secs(second);
        let (new, pause) = known.settle(result(said), now, settings, 0.0);
        assert_eq!(known.next, Some(now + pause));
        pauses.push(pause.as_secs_f64());
        news += usize::from(new);
    }
    (known, pauses, news)
}

fn address(ip: &str) -> Found {
    Found::Records(Records::Addresses(vec![ip.parse().unwrap()]))
}

#[test]
fn a_good_answer_is_believed_until_servers_say_otherwise_twice() {
    let settings = DnsSettings {
        stale: Duration::from_secs(100),
        ..DnsSettings::default()
    };
    let one = || address("10.0.0.1");
    for (history, found, stale, news) in [
        (&[(0, Is("10.0.0.1", 5))][..], one(), false, 1),
        (&[(0, Is("10.0.0.1", 5)), (5, Is("10.0.0.1", 9))], one(), false, 1),
        (
            &[(0, Is("10.0.0.1", 5)), (5, Is("10.0.0.2", 5))],
            address("10.0.0.2"),
            false,
            2,
        ),
        // Failures say nothing, for as long as that is bearable: 5 s and 100 s more.
        (
            &[(0, Is("10.0.0.1", 5)), (5, Fails), (50, Fails), (104, Fails)],
            one(),
            true,
            1,
        ),
        (
            &[(0, Is("10.0.0.1", 5)), (5, Fails), (105, Fails)],
            Found::Nothing,
            false,
            2,
        ),
        (
            &[
                (0, Is("10.0.0.1", 5)),
                (5, Fails),
                (105, Fails),
                (106, Is("10.0.0.1", 5)),
            ],
            one(),
            false,
            3,
        ),
        // A denial is believed the second time, failures in between or not.
        (&[(0, Is("10.0.0.1", 5)), (5, No)], one(), true, 1),
        (
            &[(0, Is("10.0.0.1", 5)), (5, No), (6, No)],
            Found::Nothing,
            false,
            2,
        ),
        (
            &[(0, Is("10.0.0.1", 5)), (5, Empty), (6, No)],
            Found::Nothing,
            false,
            2,
        ),
        (
            &[(0, Is("10.0.0.1", 5)), (5, No), (6, Fails), (8, No)],
            Found::Nothing,
            false,
            2,
        ),
        (
            &[(0, Is("10.0.0.1", 5)), (5, No), (6, Is("10.0.0.1", 5)), (11, No)],
            one(),
            true,
            1,
        ),
        // One that has never been answered has nothing to lose.
        (&[(0, No)], Found::Nothing, false, 1),
        (&[(0, Fails)], Found::Nothing, false, 1),
        (&[(0, Fails), (1, Fails), (2, No)], Found::Nothing, false, 1),
        (&[(0, Fails), (1, Is("10.0.0.1", 5))], one(), false, 2),
        (&[], Found::Pending, false, 0),
    ] {
        let (known, _, told) = play(&settings, history);
        assert_eq!(
            (&known.found, known.is_stale(), told),
            (&found, stale, news),
            "{history:?}"
        );
        let last = history.last().map(|(_, said)| said);
        assert_eq!(
            known.error.is_some(),
            matches!(last, Some(No | Empty | Fails)),
            "{history:?}"
        );
    }
}

#[test]
fn without_a_time_for_it_nothing_stale_is_used() {
    let settings = DnsSettings {
        stale: Duration::ZERO,
        ..DnsSettings::default()
    };
    let (known, ..) = play(&settings, &[(0, Is("10.0.0.1", 5)), (5, Fails)]);
    assert_eq!(known.found, Found::Nothing);
}

#[test]
fn an_answer_holds_for_its_time_within_bounds() {
    let settings = DnsSettings {
        min_ttl: Duration::from_secs(2),
        max_ttl: Duration::from_secs(60),
        ..DnsSettings::default()
    };
    for (ttl, pause) in [
        (0, 2.0),
        (1, 2.0),
        (30, 30.0),
        (60, 60.0),
        (u64::from(u32::MAX), 60.0),
    ] {
        let (known, pauses, _) = play(&settings, &[(0, Is("10.0.0.1", ttl))]);
        assert_eq!((pauses, known.ttl), (vec![pause], Duration::from_secs(ttl)));
    }
    let odd = DnsSettings {
        min_ttl: Duration::ZERO,
        max_ttl: Duration::ZERO,
        ..settings
    };
    assert_eq!(
        play(&odd, &[(0, Is("10.0.0.1", 9))]).1,
        [0.1],
        "never so short that it is a busy loop"
    );
}

#[test]
fn names_are_looked_up_early_rather_than_late() {
    let settings = DnsSettings::default();
    for (chance, pause) in [(0.0, 100.0), (0.5, 95.0), (1.0, 90.0), (7.0, 90.0), (-1.0, 100.0)] {
        let mut known = Known::default();
        let now = Instant::now();
        let (_, slept) = known.settle(result(Is("10.0.0.1", 100)), now, &settings, chance);
        assert!((slept.as_secs_f64() - pause).abs() < 1e-6, "{chance}: {slept:?}");
        assert_eq!(known.expires, Some(now + Duration::from_secs(100)));
    }
}

#[test]
fn look_ups_in_vain_are_repeated_soon_then_less_often() {
    let settings = DnsSettings {
        stale: Duration::from_secs(10),
        ..DnsSettings::default()
    };
    let (_, pauses, _) = play(
        &settings,
        &[(0, Fails), (1, No), (3, Fails), (7, Fails), (15, Fails), (25, No)],
    );
    assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
    let again = [(0, Fails), (1, Fails), (3, Is("10.0.0.1", 7)), (10, Fails)];
    assert_eq!(play(&settings, &again).1, [1.0, 2.0, 7.0, 1.0]);
    // Not later than the moment when the last answer is no longer to be used.
    let (_, pauses, _) = play(
        &settings,
        &[(0, Is("10.0.0.1", 5)), (5, Fails), (6, Fails), (14, Fails)],
    );
    assert_eq!(pauses, [5.0, 1.0, 2.0, 1.0]);
}
