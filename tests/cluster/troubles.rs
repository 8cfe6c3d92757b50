//! What an API refuses, what it takes its time for, and what becomes of a job then.

use super::*;

#[tokio::test]
async fn a_webhook_that_does_not_answer_makes_an_object_unknown_and_never_unchanged() {
    let world = World::new();
    world.converge(&many(2)).await;
    let down = ApiError::new(ApiErrorKind::Rejected, "x");
    world.api.trouble(
        "ConfigMap",
        Some(ApiError {
            kind: ApiErrorKind::Server,
            ..down
        }),
    );
    assert_eq!(
        world.look(&many(2)).await,
        Decision::Unchanged,
        "nothing has to be asked"
    );
    tokio::time::pause();
    let webhook = ApiError::of_answer(
        500,
        br#"{"message":"failed calling webhook \"w.example.org\""}"#,
        None,
    );
    world.api.trouble("ConfigMap", Some(webhook));
    match world.look(&many(3)).await {
        Decision::Unknown(failure) => {
            assert!(
                failure
                    .evidence
                    .iter()
                    .any(|line| line.contains("w.example.org")),
                "{failure:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_misspelt_field_is_refused_at_once_with_the_words_of_the_api() {
    let world = World::new();
    let body = json!({ "kind": "Status", "status": "Failure", "code": 500, "reason": "", "message":
        "failed to create typed patch object (default/c0; /v1, Kind=ConfigMap): .dat: field not declared in schema" });
    let misspelt = ApiError::of_answer(500, body.to_string().as_bytes(), None);
    world.api.trouble("ConfigMap", Some(misspelt));
    let began = tokio::time::Instant::now();
    let failure = refused(world.look(&many(1)).await);
    assert!(
        failure.evidence[0].contains(".dat: field not declared in schema"),
        "{failure:?}"
    );
    assert!(began.elapsed().is_zero(), "nothing is tried again");
}

#[tokio::test(start_paused = true)]
async fn what_a_new_namespace_does_not_have_yet_is_waited_for_and_named_where_it_never_comes() {
    let world = World::new();
    let none_yet = || {
        let body = br#"{"message":"configmaps \"c0\" is forbidden: status unknown for quota: q, resources: count"}"#;
        Some(ApiError::of_answer(403, body, None))
    };
    let Decision::Drift { drift, .. } = world.look(&many(1)).await else {
        panic!("it is new");
    };
    world.api.trouble("ConfigMap", none_yet());
    let counted = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.api.trouble("ConfigMap", None);
    };
    let (end, ()) = tokio::join!(world.carry_out(drift), counted);
    assert_eq!(end.status, JobStatus::Succeeded, "{}", end.stderr);

    world.api.remove("configmaps", "default", "c0");
    world.api.trouble("ConfigMap", none_yet());
    let failure = refused(world.look(&many(1)).await);
    assert!(
        failure.evidence[0].contains("status unknown for quota: q"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn what_a_quota_rejects_is_refused_with_its_reason_before_anything_is_changed() {
    let world = World::new();
    let over = ApiError::of_answer(
        403,
        br#"{"message":"configmaps \"c0\" is forbidden: exceeded quota: q, requested: count=1"}"#,
        None,
    );
    world.api.trouble("ConfigMap", Some(over));
    let failure = refused(world.look(&many(1)).await);
    assert!(
        failure.evidence[0].contains("exceeded quota: q"),
        "{failure:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_ended_by_its_limit_says_what_it_waited_for() {
    let world = World::with_file(POOLS);
    world.api.stick(true);
    let wish = manifest(json!({ "files": ["x"], "ready_timeout": "20m" }));
    let Decision::Drift { drift, .. } = world.look(&wish).await else {
        panic!("it is new");
    };
    let promised = hmco_boot::plan::waits(&drift);
    assert!(promised >= Duration::from_secs(1200), "{promised:?}");
    let limit = Duration::from_secs(600);
    let end = world.carry_out_within(limit, drift).await;
    assert_eq!(end.status, JobStatus::TimedOut);
    assert!(
        end.stdout.contains("waiting: ") && end.stdout.contains("0 of 1 pods are available"),
        "{}",
        end.stdout
    );
}

#[tokio::test]
async fn a_job_that_ended_before_the_api_went_away_is_known_by_its_end() {
    let world = World::new();
    let job = |id: &str| Job {
        id: JobId::new(id),
        label: "step@cluster".into(),
        actions: Vec::new(),
        timeout: TimeSpan(Duration::from_secs(60)),
        fence: None,
    };
    world.host.apply(&job("one"), &[], &|_| {}).await.unwrap();
    let attach = async |id: &str| {
        let id = JobId::new(id);
        world.host.attach(&id, false, &|_| {}).await.unwrap().status
    };
    assert_eq!(attach("one").await, JobStatus::Succeeded);
    assert_eq!(attach("of-an-earlier-process").await, JobStatus::Lost);
}

#[tokio::test]
async fn a_workload_that_does_not_come_up_fails_with_why_and_is_never_unchanged() {
    let world = World::with_file(POOLS);
    world.api.stick(true);
    let mut wish = manifest(json!({ "files": ["x"], "ready_timeout": "1s" }));
    let Decision::Drift { drift, .. } = world.look(&wish).await else {
        panic!("it is new");
    };
    let end = world.carry_out(drift).await;
    assert!(matches!(end.status, JobStatus::Failed { .. }), "{end:?}");
    assert!(
        end.stderr.contains("0 of 1 pods are available"),
        "{}",
        end.stderr
    );
    // Another run looks again: everything is applied but the resource, and the workload is not ready.
    match world.look(&wish).await {
        Decision::Drift { diff, .. } => {
            assert!(told(&diff).contains("is not ready"), "{}", told(&diff))
        }
        other => panic!("{other:?}"),
    }
    wish.ready = false;
    world.converge(&wish).await;
}

#[tokio::test]
async fn a_conflict_is_refused_with_the_names_of_field_and_owner_until_it_is_meant() {
    let world = World::new();
    world.api.put(
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c0", "namespace": "default" }, "data": { "key": "x" } }),
        "kubectl",
    );
    let failure = refused(world.look(&many(1)).await);
    assert!(
        failure.evidence[0].contains(".data.key") && failure.evidence[0].contains("kubectl"),
        "{failure:?}"
    );
    let mut wish = many(1);
    wish.force_conflicts = true;
    world.converge(&wish).await;
}

#[tokio::test(start_paused = true)]
async fn what_got_the_name_of_an_object_that_was_to_be_deleted_is_left_and_told() {
    let world = World::new();
    world.converge(&many(4)).await;
    let mut wish = many(4);
    wish.state = serde_json::from_value(json!("absent")).unwrap();
    let Decision::Drift { drift, .. } = world.look(&wish).await else {
        panic!("they are there");
    };
    // Somebody makes one of them anew before they are deleted.
    world.api.remove("configmaps", "default", "c0");
    world.api.put(
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c0", "namespace": "default" } }),
        "kubectl",
    );
    let said = std::sync::Mutex::new(String::new());
    let job = Job {
        id: JobId::new("job"),
        label: "step@cluster".into(),
        actions: drift,
        timeout: TimeSpan(Duration::from_secs(60)),
        fence: None,
    };
    let output = |text: &str| said.lock().unwrap().push_str(text);
    let applied = world.host.apply(&job, &[], &output).await.unwrap();
    assert_eq!(applied.end.status, JobStatus::Succeeded, "{applied:?}");
    let said = said.into_inner().unwrap();
    let left = "left ConfigMap default/c0: another object has this name by now\n";
    assert!(said.contains(left), "{said}");
    assert_eq!(said.matches("deleted ConfigMap").count(), 3, "{said}");
    // Another look decides on the other one.
    let Decision::Drift { drift, .. } = world.look(&wish).await else {
        panic!("it is there");
    };
    world.carry_out(drift).await;
    assert_eq!(world.look(&wish).await, Decision::Unchanged);
}
