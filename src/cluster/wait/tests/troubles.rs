//! Watches that break, tell nothing, or are refused.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_api_that_goes_away_while_it_is_watched_is_waited_for() {
    let world = World::new();
    let outage = async {
        seconds(10).await;
        let down = ApiError::new(ApiErrorKind::Unreachable, "it is down");
        world.api.away(Some(down));
        world.api.put(is("default", "a", "well"), "x");
        seconds(30).await;
        world.api.away(None);
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(world.wait_for_a(), outage);
    assert_eq!(waited, Ok(()));
    assert!(began.elapsed() <= Duration::from_secs(42));
    assert_eq!(
        world.said(),
        [
            "waiting: ConfigMap default/a: it is not there\n",
            "waiting: ConfigMap default/a: it is down\n"
        ]
    );
    let lists = world.asked().len();
    assert!(lists < 25, "it is not pestered: {lists} requests");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_begins_with_a_list_again() {
    let world = World::new();
    let cuts = async {
        for _ in 0..3 {
            seconds(10).await;
            world.api.cut();
        }
        world.api.put(is("default", "a", "well"), "x");
    };
    let (waited, ()) = tokio::join!(world.wait_for_a(), cuts);
    assert_eq!(waited, Ok(()));
    let asked = world.asked();
    assert_eq!(asked.len(), 7, "the last list has it: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_tells_nothing_is_not_believed_for_longer_than_its_time() {
    let world = World::new();
    world.api.silence(true);
    let change = async {
        seconds(10).await;
        world.api.put(is("default", "a", "well"), "x");
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(world.wait_for_a(), change);
    assert_eq!(waited, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(62));
}

#[tokio::test(start_paused = true)]
async fn a_last_look_is_taken_before_it_is_given_up() {
    let world = World::new();
    world.api.silence(true);
    let change = async {
        seconds(290).await;
        world.api.put(is("default", "a", "well"), "x");
    };
    let (waited, ()) = tokio::join!(world.wait_for_a(), change);
    assert_eq!(waited, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_by_now_begins_with_a_list_again() {
    let world = World::new();
    let change = async {
        seconds(10).await;
        world.api.put(is("default", "other", "well"), "x");
        world.api.forget();
        // Nothing rings but this, and it is forgotten as well.
        world.api.put(is("default", "a", "well"), "x");
        world.api.forget();
    };
    let (waited, ()) = tokio::join!(world.wait_for_a(), change);
    assert_eq!(waited, Ok(()));
    assert_eq!(world.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_may_watch_it_is_listed_again_and_again() {
    let world = World::new();
    let denied = ApiError::new(ApiErrorKind::Denied, "you may not watch");
    world.api.refuse_watches(Some(denied));
    let change = async {
        seconds(30).await;
        world.api.put(is("default", "a", "well"), "x");
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(world.wait_for_a(), change);
    assert_eq!(waited, Ok(()));
    assert!(began.elapsed() <= Duration::from_secs(32));
    let asked = world.asked();
    let watches = asked.iter().filter(|asked| asked.starts_with("watch"));
    assert_eq!(watches.count(), 1, "it is not asked for what it refused");
    assert!(asked.len() < 25, "{}", asked.len());
}
