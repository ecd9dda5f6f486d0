//! Goal: each form lets in what its documentation signs, and refuses every other one by its own name.

use super::*;

/// A request that is right, and by what.
struct Case {
    form: Form,
    secret: &'static [u8],
    headers: Vec<(&'static str, String)>,
    body: &'static [u8],
    /// Its time, Unix seconds; none: it has none.
    at: Option<u64>,
}

const SLACK_BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

/// As the senders' own pages have them, and Stripe's by its scheme.
fn documented() -> [Case; 4] {
    [
        Case {
            form: Form::Github,
            secret: b"It's a Secret to Everybody",
            headers: vec![
                (
                    "x-hub-signature-256",
                    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_owned(),
                ),
                ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
            ],
            body: b"Hello, World!",
            at: None,
        },
        Case {
            form: Form::Stripe,
            secret: b"whsec_test_secret",
            headers: vec![(
                "stripe-signature",
                "t=1492774577,v1=4ee5e8d695c9619e003fd480d3d51700d924e29697337d379a6ef6e06e703ab4,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
                    .to_owned(),
            )],
            body: b"{\"id\":\"evt_1\",\"type\":\"charge.succeeded\"}",
            at: Some(1_492_774_577),
        },
        Case {
            form: Form::Slack,
            secret: b"8f742231b10e8888abcd99yyyzzz85a5",
            headers: vec![
                (
                    "x-slack-signature",
                    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503".to_owned(),
                ),
                ("x-slack-request-timestamp", "1531420618".to_owned()),
            ],
            body: SLACK_BODY,
            at: Some(1_531_420_618),
        },
        Case {
            form: Form::Standard,
            secret: b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            headers: vec![
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
                ("webhook-timestamp", "1614265330".to_owned()),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()),
            ],
            body: b"{\"test\": 2432232314}",
            at: Some(1_614_265_330),
        },
    ]
}

const TOLERANCE_MS: u64 = 5 * 60 * 1000;

impl Case {
    /// With another value of a header, or without it.
    fn with(mut self, name: &str, change: impl Fn(&str) -> Option<String>) -> Self {
        let found = self.headers.iter().position(|(it, _)| *it == name).unwrap();
        match change(&self.headers[found].1) {
            Some(value) => self.headers[found].1 = value,
            None => drop(self.headers.remove(found)),
        }
        self
    }

    fn signature_header(&self) -> &'static str {
        match self.form {
            Form::Github => "x-hub-signature-256",
            Form::Stripe => "stripe-signature",
            Form::Slack => "x-slack-signature",
            Form::Standard => "webhook-signature",
        }
    }

    fn verified(&self, body: &[u8], secrets: &[&[u8]], now_ms: u64) -> Result<Signed, Wrong> {
        let header = |(name, value): &(&'static str, String)| {
            ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        let headers: Vec<_> = self.headers.iter().map(header).collect();
        verify(self.form, Arrived { headers: &headers, body }, secrets, (TOLERANCE_MS, now_ms))
    }

    fn now_ms(&self) -> u64 {
        self.at.map_or(0, |at| at * 1000)
    }

    /// At its own time.
    fn seen(&self) -> Result<Signed, Wrong> {
        self.verified(self.body, &[self.secret], self.now_ms())
    }

    fn cause(&self) -> &'static str {
        self.seen().unwrap_err().cause()
    }
}

/// Signs a body as the form does.
fn signed(form: Form, secret: &[u8], at: u64, body: &'static [u8]) -> Case {
    let key = key(form, secret).unwrap();
    let at_text = at.to_string();
    let code = |parts: &[&[u8]]| hmac::sha256(&key, parts);
    let (t, b) = (at_text.as_bytes(), body);
    let headers = match form {
        Form::Github => vec![("x-hub-signature-256", format!("sha256={}", hex(&code(&[b]))))],
        Form::Stripe => vec![("stripe-signature", format!("t={at},v1={}", hex(&code(&[t, b".", b]))))],
        Form::Slack => vec![
            ("x-slack-signature", format!("v0={}", hex(&code(&[b"v0:", t, b":", b])))),
            ("x-slack-request-timestamp", at_text.clone()),
        ],
        Form::Standard => vec![
            ("webhook-id", "m".to_owned()),
            ("webhook-timestamp", at_text.clone()),
            ("webhook-signature", format!("v1,{}", STANDARD.encode(code(&[b"m.", t, b".", b])))),
        ],
    };
    let secret: &'static [u8] = secret.to_vec().leak();
    Case { form, secret, headers, body, at: (form != Form::Github).then_some(at) }
}

fn secret_of(form: Form) -> &'static [u8] {
    if form == Form::Standard { b"whsec_c2VjcmV0c2VjcmV0c2VjcmV0" } else { b"secret" }
}

#[test]
fn what_its_senders_page_signs_is_let_in() {
    for case in documented() {
        let signed = case.seen().unwrap_or_else(|wrong| panic!("{:?}: {wrong}", case.form));
        let id = match case.form {
            Form::Github => Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            Form::Standard => Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
            Form::Stripe | Form::Slack => None,
        };
        assert_eq!((signed.id.as_deref(), signed.digest.len()), (id, 64));
    }
}

#[test]
fn another_body_or_another_secret_is_a_mismatch() {
    for case in documented() {
        let now_ms = case.now_ms();
        let other = [case.body, b"x"].concat();
        for body in [&other[..], b"", &case.body[1..]] {
            assert_eq!(case.verified(body, &[case.secret], now_ms), Err(Wrong::Mismatch), "{:?}", case.form);
        }
        let other = secret_of(case.form);
        assert_eq!(case.verified(case.body, &[other], now_ms), Err(Wrong::Mismatch), "{:?}", case.form);
        assert_eq!(case.verified(case.body, &[], now_ms), Err(Wrong::Keyless), "{:?}", case.form);
    }
}

#[test]
fn both_values_of_a_changed_secret_are_good() {
    for case in documented() {
        let other = secret_of(case.form);
        for secrets in [[case.secret, other], [other, case.secret]] {
            case.verified(case.body, &secrets, case.now_ms()).unwrap();
        }
    }
}

#[test]
fn the_senders_time_may_be_wrong_both_ways_as_far_as_is_told() {
    for case in documented() {
        let Some(at) = case.at else {
            case.verified(case.body, &[case.secret], u64::MAX).unwrap();
            continue;
        };
        let at_ms = at * 1000;
        for now_ms in [at_ms - TOLERANCE_MS, at_ms + TOLERANCE_MS] {
            case.verified(case.body, &[case.secret], now_ms).unwrap();
        }
        let old = case.verified(case.body, &[case.secret], at_ms + TOLERANCE_MS + 1000).unwrap_err();
        assert_eq!(old, Wrong::Old { ago_s: 301, most_s: 300 });
        let early = case.verified(case.body, &[case.secret], at_ms - TOLERANCE_MS - 1000).unwrap_err();
        assert_eq!(early, Wrong::Early { ahead_s: 301, most_s: 300 });
        // Who does not know the secret learns nothing of time.
        let forged = case.verified(b"forged", &[case.secret], at_ms + TOLERANCE_MS + 1000);
        assert_eq!(forged, Err(Wrong::Mismatch));
    }
}

#[test]
fn any_of_several_signatures_is_enough() {
    let again = |case: Case, with: &dyn Fn(&str) -> String| {
        let header = case.signature_header();
        case.with(header, |value| Some(with(value)))
    };
    let zeros = "0".repeat(64);
    for first in [true, false] {
        let stripe = signed(Form::Stripe, b"secret", 100, b"body");
        let both = again(stripe, &|value| {
            let (time, code) = value.split_once(',').unwrap();
            if first { format!("{time},{code},v1={zeros}") } else { format!("{time}, v1={zeros}, {code}") }
        });
        let alone = signed(Form::Stripe, b"secret", 100, b"body").seen().unwrap();
        assert_eq!(both.seen().unwrap().digest, alone.digest, "whatever stands before the right one");
        let standard = signed(Form::Standard, b"whsec_c2VjcmV0c2VjcmV0c2VjcmV0", 100, b"body");
        let both = again(standard, &|value| {
            if first { format!("{value} v1,AAAA v2,x") } else { format!("v1a,?? v1,AAAA {value}") }
        });
        both.seen().unwrap();
    }
    let many = again(signed(Form::Stripe, b"secret", 100, b"body"), &|value| {
        format!("{value}{}", format!(",v1={zeros}").repeat(SIGNATURES_MAX))
    });
    assert_eq!(many.cause(), "malformed");
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    for case in documented() {
        for (header, _) in case.headers.clone() {
            let case = documented().into_iter().find(|it| it.form == case.form).unwrap();
            let without = case.with(header, |_| None);
            if header == "x-github-delivery" {
                assert_eq!(without.seen().unwrap().id, None);
                continue;
            }
            let wrong = without.seen().unwrap_err();
            assert_eq!(wrong.cause(), "unsigned", "{header}");
            assert!(wrong.to_string().to_ascii_lowercase().contains(header), "{wrong}");
        }
    }
    let zeros = "0".repeat(64);
    for (form, header, value) in [
        (Form::Github, "x-hub-signature-256", "sha1=00".to_owned()),
        (Form::Github, "x-hub-signature-256", format!("sha256={}", &zeros[1..])),
        (Form::Github, "x-hub-signature-256", format!("sha256={}g", &zeros[1..])),
        (Form::Github, "x-hub-signature-256", format!("sha256={}é", &zeros[2..])),
        (Form::Github, "x-hub-signature-256", "sha256=".to_owned()),
        (Form::Github, "x-hub-signature-256", String::new()),
        (Form::Stripe, "stripe-signature", format!("v1={zeros}")),
        (Form::Stripe, "stripe-signature", "t=1492774577".to_owned()),
        (Form::Stripe, "stripe-signature", format!("t=1,t=1,v1={zeros}")),
        (Form::Stripe, "stripe-signature", format!("t=-1,v1={zeros}")),
        (Form::Stripe, "stripe-signature", format!("t=,v1={zeros}")),
        (Form::Stripe, "stripe-signature", "t=1,v1=0".to_owned()),
        (Form::Stripe, "stripe-signature", ",=,,".to_owned()),
        (Form::Slack, "x-slack-signature", format!("v1={zeros}")),
        (Form::Slack, "x-slack-request-timestamp", "soon".to_owned()),
        (Form::Slack, "x-slack-request-timestamp", "99999999999999999999".to_owned()),
        (Form::Slack, "x-slack-request-timestamp", "+1531420618".to_owned()),
        (Form::Standard, "webhook-signature", "v1,*".to_owned()),
        (Form::Standard, "webhook-signature", "v2,AAAA".to_owned()),
        (Form::Standard, "webhook-timestamp", "1.5".to_owned()),
    ] {
        let case = documented().into_iter().find(|it| it.form == form).unwrap();
        let case = case.with(header, |_| Some(value.clone()));
        assert_eq!(case.cause(), "malformed", "{form:?} {header}: {value}");
    }
    let mut twice = documented().into_iter().next().unwrap();
    twice.headers.push(twice.headers[0].clone());
    assert_eq!(twice.cause(), "malformed");
}

#[test]
fn any_bytes_can_be_a_body_and_none() {
    for form in Form::ALL {
        for body in [&b""[..], b"\xff\xfe\0", b"\r\n"] {
            signed(form, secret_of(form), 100, body).seen().unwrap();
        }
    }
    let not_text = [("x-hub-signature-256".to_owned(), Bytes::from_static(b"sha256=\xff"))];
    let arrived = Arrived { headers: &not_text, body: b"" };
    let wrong = verify(Form::Github, arrived, &[b"s"], (1, 1)).unwrap_err();
    assert_eq!(wrong.cause(), "malformed");
}

#[test]
fn a_secret_of_the_standard_is_a_key_in_base64() {
    for secret in [&b"secret"[..], b"whsec_*", b"whsec", b"whsec_", b"whsec_c2VjcmV0c2VjcmV0c2Vj"] {
        let case = signed(Form::Standard, b"whsec_c2VjcmV0c2VjcmV0c2VjcmV0", 100, b"body");
        assert_eq!(case.verified(case.body, &[secret], 100_000), Err(Wrong::Keyless));
    }
}

#[test]
fn a_time_that_is_huge_is_early_and_no_overflow() {
    let case = signed(Form::Stripe, b"secret", u64::MAX, b"body");
    assert_eq!(case.verified(case.body, &[case.secret], 0).unwrap_err().cause(), "early");
}

#[test]
fn every_cause_has_a_word() {
    let all = [
        Wrong::Unsigned(""),
        Wrong::Malformed("", ""),
        Wrong::Mismatch,
        Wrong::Old { ago_s: 1, most_s: 1 },
        Wrong::Early { ahead_s: 1, most_s: 1 },
        Wrong::Keyless,
    ];
    assert_eq!(all.map(|wrong| wrong.cause()), Wrong::CAUSES);
}

#[test]
fn nothing_is_signed_by_an_empty_key() {
    for form in Form::ALL {
        let secret: &[u8] = if form == Form::Standard { b"whsec_" } else { b"" };
        assert!(wanted(form, secret).is_some() && wanted(form, secret_of(form)).is_none());
        let case = signed(form, secret_of(form), 100, b"body");
        assert_eq!(case.verified(b"body", &[secret], 100_000), Err(Wrong::Keyless), "{form:?}");
    }
}
