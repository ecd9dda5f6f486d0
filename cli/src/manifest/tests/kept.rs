//! Queues, topics, buckets, and what calls functions.

use super::*;

fn names<T>(entries: &[T], id: impl Fn(&T) -> &FunctionId) -> Vec<String> {
    entries.iter().map(|entry| id(entry).to_string()).collect()
}

#[test]
fn what_is_kept_is_read_without_any_function() {
    let manifest = good(
        r#"
        [queue.jobs]
        function = "work"
        attempts = 5
        backoff = "2s"
        backoff-max = "1m"
        age = "1h"
        dead-keep = "7d"
        messages = 100
        size = "1MiB"
        [queue.wait]
        namespace = "shop"
        [topic.news]
        [bucket.images]
        keys = 10
        size = 1048576
        [bucket.plain]
        "#,
    );
    assert_eq!(names(&manifest.queues, |it| &it.id), ["jobs", "shop/wait"]);
    let settings = Settings {
        attempts: 5,
        backoff_ms: 2000,
        backoff_max_ms: 60_000,
        age_ms: 3_600_000,
        dead_keep_ms: 604_800_000,
        messages_max: 100,
        bytes_max: 1 << 20,
        ..Settings::default()
    };
    assert_eq!((manifest.queues[0].line, &manifest.queues[0].settings), (2, &settings));
    assert_eq!(manifest.queues[1].settings, Settings::default());
    assert_eq!(names(&manifest.topics, |it| &it.id), ["news"]);
    let [images, plain] = manifest.buckets.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((images.keys_max, images.bytes_max), (10, 1 << 20));
    assert_eq!((plain.keys_max, plain.bytes_max), (1_000_000, 1 << 30));
    let [trigger] = manifest.triggers.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((trigger.function.to_string().as_str(), trigger.line), ("work", 3));
    assert_eq!((trigger.kind(), trigger.source().to_string().as_str()), ("queue", "jobs"));
    assert!(manifest.functions.is_empty());
}

#[test]
fn triggers_are_read() {
    let manifest = good(
        r#"
        [[trigger]]
        function = "work"
        topic = "news"
        retry = { attempts = 7, backoff = "1s", backoff-max = "1m", max-age = "2h", dead-keep = "1d", messages = 9, size = "1KiB" }
        [[trigger]]
        function = "thumb"
        namespace = "shop"
        bucket = "images"
        on = ["kv.set"]
        filter = { prefix = "in/", suffix = ".jpg" }
        [[trigger]]
        function = "thumb"
        bucket = "images"
        [[trigger]]
        function = "report"
        schedule = "0 3 * * *"
        zone = "Europe/Berlin"
        data = "@r.json"
        overlap = "forbid"
        [[trigger]]
        function = "report"
        schedule = "@weekly"
        name = "weekly"
        [schedule.first]
        cron = "@daily"
        function = "report"
        "#,
    );
    let [news, shop, all] = manifest.triggers.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((news.line, &news.on), (3, &On::Topic("news".parse().unwrap())));
    let settings = Settings {
        attempts: 7,
        backoff_ms: 1000,
        backoff_max_ms: 60_000,
        age_ms: 7_200_000,
        dead_keep_ms: 86_400_000,
        messages_max: 9,
        bytes_max: 1 << 10,
        ..Settings::default()
    };
    assert_eq!((news.settings.clone(), news.queue().as_str()), (settings, "topic/news/work"));
    assert_eq!(all.queue(), "bucket/images/thumb");
    assert_eq!(
        (shop.function.to_string(), shop.source().to_string()),
        ("shop/thumb".into(), "shop/images".into())
    );
    let changes = |sets, deletes, prefix: &str, suffix: &str, holds| On::Bucket {
        name: "images".parse().unwrap(),
        changes: Changes { sets, deletes, prefix: prefix.to_owned(), suffix: suffix.to_owned(), holds },
    };
    let values = Some(Holds::Values);
    assert_eq!(
        (&shop.on, &all.on),
        (&changes(true, false, "in/", ".jpg", values), &changes(true, true, "", "", None))
    );
    assert_eq!(names(&manifest.schedules, |it| &it.id), ["first", "report", "weekly"]);
    let report = &manifest.schedules[1];
    assert_eq!((report.cron.as_str(), report.zone.as_str()), ("0 3 * * *", "Europe/Berlin"));
    assert_eq!(report.data, Data::File("project/r.json".into()));
    assert_eq!((report.overlap, report.missed), (Overlap::Forbid, Missed::Once));
    assert_eq!(manifest.schedules[2].zone, "UTC");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, problem) in [
        (
            "[queue.jobs]\natempts = 3",
            "coracle.toml:2: queue.jobs.atempts: unknown key; did you mean 'attempts'?",
        ),
        ("[queue.jobs]\nattempts = 0", "coracle.toml:2: queue.jobs.attempts: 0 is not between 1 and 100"),
        ("[queue.jobs]\nattempts = '3'", "queue.jobs.attempts: expected a number, got string"),
        ("[queue.jobs]\nage = 30", "queue.jobs.age: expected a duration such as \"30s\", got integer"),
        ("[queue.jobs]\nage = '30'", "queue.jobs.age: '30' is no duration"),
        ("[queue.jobs]\nsize = true", "queue.jobs.size: expected a size such as \"64MiB\", got boolean"),
        ("[queue.Jobs]", "coracle.toml:1: queue.Jobs: 'Jobs' is not a function name"),
        ("[queue.jobs]\nfunction = 'F'", "coracle.toml:2: queue.jobs.function: 'F' is not"),
        ("[queue]\njobs = 1", "coracle.toml:2: queue.jobs: expected a table, got integer"),
        ("queue = 1", "queue: expected tables [queue.NAME], got integer"),
        ("[topic.news]\nattempts = 1", "topic.news.attempts: unknown key; known are namespace"),
        ("[bucket.b]\nkeys = 0", "bucket.b.keys: 0 is not between 1 and"),
        ("[trigger]\nfunction = 'f'", "trigger: expected tables [[trigger]], got table"),
        ("[[trigger]]\nfunction = 'f'", "trigger: one of the keys queue, topic, bucket, schedule is missing"),
        ("[[trigger]]\nqueue = 'q'", "coracle.toml:2: trigger: the key 'function' is missing"),
        ("[[trigger]]\nfunction = 'f'\nqueue = 'q'\ntopic = 't'", "queue and topic stand there"),
        (
            "[[trigger]]\nfunction = 'f'\nqueue = 'q'\non = 'kv.set'",
            "trigger.on: it goes with bucket, webhook, not with queue",
        ),
        (
            "[[trigger]]\nfunction = 'f'\nschedule = '@daily'\nretry = {}",
            "trigger.retry: it goes with queue, topic, bucket, webhook",
        ),
        (
            "[[trigger]]\nfunction = 'f'\ntopic = 't'\nzone = 'UTC'",
            "trigger.zone: it goes with schedule, not with topic",
        ),
        (
            "[[trigger]]\nfunction = 'f'\nbucket = 'b'\non = ['set']",
            "coracle.toml:4: trigger.on: 'set' is none of kv.set, kv.deleted, blob.created",
        ),
        ("[[trigger]]\nfunction = 'f'\nbucket = 'b'\non = []", "it names none of kv.set,"),
        (
            "[[trigger]]\nfunction = 'f'\nbucket = 'b'\nfilter = { sufix = 'x' }",
            "trigger.filter.sufix: unknown key; did you mean 'suffix'?",
        ),
        (
            "[[trigger]]\nfunction = 'f'\ntopic = 't'\nretry = { age = '1h' }",
            "trigger.retry.age: unknown key; known are attempts",
        ),
        (
            "[[trigger]]\nfunctoin = 'f'\ntopic = 't'",
            "trigger.functoin: unknown key; did you mean 'function'?",
        ),
    ] {
        let found = bad(text);
        assert!(found.contains(problem), "{text}\n{found}");
    }
}

#[test]
fn what_is_wrong_with_blobs_webhooks_and_delivery_is_told() {
    for (text, problem) in [
        (
            "[[trigger]]\nfunction = 'f'\nbucket = 'b'\non = ['kv.set', 'blob.created']",
            "trigger.on: 'blob.created' does not go with what stands before it",
        ),
        (
            "[[trigger]]\nfunction = 'f'\non = 'webhook'\nsecret = 's'",
            "coracle.toml:2: trigger: the key 'verify' is missing",
        ),
        (
            "[[trigger]]\nfunction = 'f'\non = 'webhook'\nsecret = 's'\nverify = 'gitlab'",
            "trigger.verify: invalid variant: gitlab",
        ),
        (
            "[[trigger]]\nfunction = 'f'\nqueue = 'q'\nsecret = 's'",
            "trigger.secret: it goes with webhook, not with queue",
        ),
        (
            "[[trigger]]\nfunction = 'f'\nschedule = '@daily'\npath = '/a'",
            "trigger.path: it goes with queue, topic, bucket, webhook, not with schedule",
        ),
        (
            "[[trigger]]\nfunction = 'f'\nqueue = 'q'\nbatch = { max = 300 }",
            "trigger.batch.max: 300 is not between 1 and 256",
        ),
        ("[bucket.b]\naccess = 'read'", "bucket.b.access: it goes with holds = \"blobs\""),
        ("[bucket.b]\nsize = 1024\nbytes = 1024", "bucket.b.bytes: 'size' and 'bytes' say the same"),
    ] {
        let found = bad(text);
        assert!(found.contains(problem), "{text}\n{found}");
    }
}

#[test]
fn tables_that_contradict_each_other_are_told() {
    let queue = "[queue.jobs]\nattempts = 3\n";
    let trigger = |rest: &str| format!("[[trigger]]\nfunction = 'f'\nqueue = 'jobs'\n{rest}\n");
    let other = bad(&format!("{queue}{}", trigger("retry = { attempts = 4 }")));
    assert!(other.contains("'attempts' is told otherwise in line 1, where queue 'jobs' stands"), "{other}");
    let same = good(&format!("{queue}{}", trigger("retry = { attempts = 3, max-age = '1h' }")));
    assert_eq!((same.queues[0].settings.attempts, same.queues[0].settings.age_ms), (3, 3_600_000));

    let two = bad(&format!("[queue.jobs]\nfunction = 'g'\n{}", trigger("")));
    assert_eq!(two, "coracle.toml:4: trigger: line 2 has the messages of queue 'jobs' go to 'g' already");
    let twice = "[[trigger]]\nfunction = 'f'\ntopic = 't'\n";
    assert!(bad(&format!("{twice}{twice}")).contains("line 2 has a trigger of topic 't' for 'f' already"));
    assert!(
        bad("[queue.a]\n[topic.a]")
            .contains("coracle.toml:2: topic.a: line 1 has a queue or topic of that name")
    );
    let schedule = "[[trigger]]\nfunction = 'f'\nschedule = '@daily'\n";
    assert!(bad(&format!("{schedule}{schedule}")).contains("line 2 has a schedule of that name already"));
    let two_functions =
        "[[trigger]]\nfunction = 'f'\ntopic = 't'\n[[trigger]]\nfunction = 'g'\ntopic = 't'\n";
    assert_eq!(good(two_functions).triggers.len(), 2);
}

#[test]
fn blobs_webhooks_and_ways_of_delivery_are_read() {
    let manifest = good(
        r#"
        [bucket.uploads]
        holds = "blobs"
        access = "read"
        bytes = "2TiB"
        [bucket.plain]
        holds = "blobs"
        [queue.jobs]
        function = "work"
        batch = { max = 10, wait = "5s" }
        [[trigger]]
        function = "thumb"
        bucket = "uploads"
        on = ["blob.created", "blob.deleted"]
        filter = { suffix = ".jpg" }
        path = "/in"
        mode = "structured"
        reply = "done"
        [[trigger]]
        function = "work"
        on = "webhook"
        verify = "github"
        secret = "hub"
        tolerance = "1m"
        retry = { attempts = 5 }
        [[trigger]]
        function = "work"
        on = "webhook"
        verify = "stripe"
        secret = "pay"
        name = "payments"
        "#,
    );
    let [uploads, plain] = manifest.buckets.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((uploads.holds, uploads.access, uploads.bytes_max), (Holds::Blobs, Access::Read, 2 << 40));
    assert_eq!((plain.access, plain.bytes_max), (Access::Signed, 10 << 30));
    let batch = &manifest.queues[0].settings.delivery;
    assert_eq!((batch.batch_max, batch.batch_wait_ms), (Some(10), Some(5000)));
    let thumb = manifest.triggers.iter().find(|it| it.function.name.as_str() == "thumb").unwrap();
    let On::Bucket { changes, .. } = &thumb.on else { panic!("{thumb:?}") };
    assert_eq!((changes.holds, changes.sets, changes.deletes), (Some(Holds::Blobs), true, true));
    assert_eq!(thumb.settings.delivery.reply.as_deref(), Some("done"));
    assert_eq!(thumb.settings.delivery.mode, Some(Mode::Structured));
    let [hub, pay] = manifest.webhooks.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((hub.id.to_string().as_str(), hub.verify, hub.tolerance_ms), ("work", Verify::Github, 60_000));
    assert_eq!((hub.settings.attempts, hub.queue().as_str()), (5, "webhook/work"));
    assert_eq!((pay.id.to_string().as_str(), pay.of().to_string().as_str()), ("payments", "work"));
    let twice = "[[trigger]]\nfunction = 'f'\non = 'webhook'\nverify = 'slack'\nsecret = 's'\n";
    assert!(bad(&format!("{twice}{twice}")).contains("line 2 has a webhook of that name already"));
}

#[test]
fn a_wait_without_a_batch_is_refused() {
    for batch in ["{ wait = '5s' }", "{ max = 1, wait = '5s' }"] {
        let problems = bad(&format!("[queue.jobs]\nbatch = {batch}\n"));
        assert!(problems.contains("queue.jobs.batch: one message waits for no others"), "{problems}");
    }
    good("[queue.jobs]\nbatch = { max = 2, wait = '5s' }\n[queue.more]\nbatch = { max = 5 }\n");
}
