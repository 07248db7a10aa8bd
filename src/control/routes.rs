//! The addresses of the control interface.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream::{self, StreamExt as _};

use super::access::Door;
use super::activity;
use super::api::{
    ActivityFilter, ActivityView, AuditFilter, AuditView, DefinitionView, EmitOrder, EmitReply, ErrorCode,
    EventFilter, EventView, ExecutionFilter, ExecutionView, ExplanationView, ExportFilter, ExportLine,
    FeedFilter, FeedLine, FeedMessage, HookView, LiveOutputView, MuteOrder, MuteReply, Ordered, ReloadOrder,
    ReloadReply, RetryOrder, RetryReply, RetryResult, Reveal, SeekOrder, SeekReply, SessionView, StatusView,
    StopOrder, StopReply, Story, UnmuteOrder, UnmuteReply,
};
use super::asked::{Asked, By, Named, Told, Wordless};
use super::convert;
use super::explanation;
use super::export::Exporter;
use super::feed::{self, Follow, Progress, sse};
use super::health;
use super::metrics::{self, Format};
use super::mutes;
use super::openapi;
use super::operations::{AnyJson, As, Events, Lines, Listed, Method, Metrics, Nothing, Operation};
use super::page;
use super::problem::Failure;
use super::query;
use super::room::{Answer, Room};
use super::seek;
use crate::engine::execution::State as ExecutionState;
use crate::event::id::{ExecutionKey, HookName, Reference, Seq};
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{EMITTED, Event, Facts, Subject, opennebula, own, saved};

/// Requests above this many bytes are refused; an event's document in base64 is the largest thing sent.
const LARGEST_REQUEST: usize = 96 << 20;

/// An answer begins within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// At most this many executions in one order.
const LARGEST_ORDER: usize = 1000;

type Rooms = State<Arc<Room>>;

/// Everything that the interface can do.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::open("/healthz", "alive", "Whether the daemon lives.", health::alive),
        Operation::open(
            "/readyz",
            "ready",
            "Whether the daemon can do its work; 503 with the reasons where it cannot.",
            health::ready,
        ),
        Operation::get(
            "/metrics",
            "metrics",
            "How the daemon does, for Prometheus.",
            scrape,
        ),
        Operation::get("/v1/status", "status", "How the daemon does.", status),
        Operation::get(
            "/v1/activity",
            "activity",
            "What ended in each of the last minutes.",
            activity,
        ),
        Operation::get(
            "/v1/feed",
            "feed",
            "The live feed: what becomes durable from now on, or from what the reader has seen last.",
            follow,
        ),
        Operation::get(
            "/v1/events",
            "events",
            "Events, the newest first; with `follow` the oldest first, and then what arrives.",
            events,
        ),
        Operation::post(
            "/v1/events",
            "emit",
            "Hands a synthetic event to the daemon.",
            emit,
        ),
        Operation::get("/v1/events/{seq}", "event", "One event with its payload.", event),
        Operation::get(
            "/v1/events/{seq}/explanation",
            "explanation",
            "Why each hook matches an event, or does not.",
            explanation,
        ),
        Operation::get(
            "/v1/executions",
            "executions",
            "Executions, the newest first; with `follow` the oldest first, and then each change.",
            executions,
        ),
        Operation::post("/v1/executions/retry", "retry", "Runs executions again.", retry),
        Operation::get(
            "/v1/executions/{reference}",
            "story",
            "The whole story of an execution, or of an event and all it caused.",
            story,
        ),
        Operation::get(
            "/v1/executions/{reference}/output",
            "output",
            "What an execution's attempt has written, so far while it runs.",
            output,
        ),
        Operation::post(
            "/v1/executions/{reference}/cancel",
            "cancel",
            "Cancels an execution that waits, or ends one that runs.",
            cancel,
        ),
        Operation::get("/v1/hooks", "hooks", "The hooks in force.", hooks),
        Operation::post(
            "/v1/hooks/{name}/enable",
            "enable",
            "Enables a hook, whatever its file says.",
            enable,
        ),
        Operation::post(
            "/v1/hooks/{name}/disable",
            "disable",
            "Disables a hook, whatever its file says.",
            disable,
        ),
        Operation::post(
            "/v1/hooks/{name}/reset",
            "reset",
            "Lets a hook's file decide again.",
            reset,
        ),
        Operation::post(
            "/v1/hooks/{name}/stop",
            "stop",
            "Mutes a hook, cancels what waits of it and ends what runs.",
            stop,
        ),
        Operation::post("/v1/mutes", "mute", "Holds executions back.", mute),
        Operation::post("/v1/mutes/end", "unmute", "Takes a mute back.", unmute),
        Operation::post(
            "/v1/reload",
            "reload",
            "Reads the configuration and the hooks folder now.",
            reload,
        ),
        Operation::post(
            "/v1/sources/{name}/seek",
            "seek",
            "Reads partitions of a topic from elsewhere.",
            seek_to,
        ),
        Operation::get("/v1/audit", "audit", "Who ordered what, the newest first.", audit),
        Operation::get(
            "/v1/export",
            "export",
            "Records as lines, the oldest first.",
            export,
        ),
        Operation::own(
            Method::Get,
            "/v1/session",
            "session",
            "The browser's own session. There are none over the Unix socket.",
            session,
        ),
        Operation::own(
            Method::Post,
            "/v1/session",
            "begin_session",
            "Begins a session: the answer sets its cookie. Whoever asks shows a token.",
            begin_session,
        ),
        Operation::own(
            Method::Delete,
            "/v1/session",
            "end_session",
            "Ends the session.",
            end_session,
        ),
        Operation::get("/v1/openapi.json", "openapi", "This document.", document),
    ]
}

pub(super) fn router(room: Arc<Room>) -> Router {
    operations()
        .into_iter()
        .fold(Router::new(), |router, operation| {
            router.route(operation.path, operation.handler)
        })
        .route("/", get(page::asset))
        .route("/assets/{file}", get(page::asset))
        .fallback(no_such_address)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .layer(middleware::from_fn(in_time))
        .with_state(room)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST_WAIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::new(
            ErrorCode::TimedOut,
            format!("no answer within {} s", LONGEST_WAIT.as_secs()),
        )
        .into_response(),
    }
}

async fn no_such_address(request: Request) -> Failure {
    Failure::new(
        ErrorCode::NotFound,
        format!("there is nothing at {}", request.uri().path()),
    )
    .with_hint(Some(
        "client and daemon may be of different versions; `hem status` says the daemon's".to_owned(),
    ))
}

async fn no_such_method(request: Request) -> Failure {
    Failure::new(
        ErrorCode::MethodNotAllowed,
        format!("{} takes no {}", request.uri().path(), request.method()),
    )
}

async fn status(State(room): Rooms) -> Answer<StatusView> {
    let status = room.handle.status().await?;
    let hooks = room.handle.hooks().len();
    let mut view = StatusView {
        url: room.url.clone(),
        ..convert::status(&status, hooks, Timestamp::now())
    };
    room.veil.status(&mut view);
    Ok(Json(view))
}

/// Prometheus' own address, outside of the versioned ones.
async fn scrape(State(room): Rooms, headers: HeaderMap) -> Result<As<Metrics>, Failure> {
    let format = Format::wanted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let status = room.handle.status().await?;
    let hooks = room.handle.hooks().len();
    let text = metrics::render(status, hooks, Timestamp::now(), format).map_err(|error| {
        Failure::new(
            ErrorCode::Internal,
            format!("the metrics cannot be written: {error}"),
        )
    })?;
    Ok(As::new(
        ([(CONTENT_TYPE, format.content_type())], text).into_response(),
    ))
}

type Either<T> = As<(Listed<T>, Lines<FeedLine>)>;

async fn events(
    State(room): Rooms,
    By(caller): By,
    Asked(filter): Asked<EventFilter>,
) -> Result<Either<EventView>, Failure> {
    let live = filter.follow.then(|| room.handle.subscribe());
    let query = query::event_query(&filter)?;
    let veil = room.veil(filter.reveal, &caller, "events").await?;
    let (asked, role) = (filter.clone(), caller.role);
    let page = room
        .read(veil.clone(), move |reader| reader.events_for(&asked, role))
        .await?;
    let Some(live) = live else {
        let listed = Listed::new("/v1/events", page, |cursor| EventFilter {
            cursor: Some(cursor),
            ..filter
        });
        return Ok(As::new(listed.into_response()));
    };
    let listed = page.items;
    let follow = Follow::Events {
        query,
        listed: Seq(listed.first().map_or(0, |event| event.seq)),
        veil,
        role,
    };
    let past = listed
        .into_iter()
        .rev()
        .map(|event| FeedLine::Event(Box::new(event)));
    let news = feed::news(
        caller,
        live,
        follow,
        room.handle.store().id().clone(),
        room.shutdown.clone(),
    );
    Ok(As::new(feed::lines(stream::iter(past).chain(news))))
}

async fn event(
    State(room): Rooms,
    By(caller): By,
    Named(seq): Named<u64>,
    Asked(Reveal { reveal }): Asked<Reveal>,
) -> Answer<EventView> {
    let veil = room.veil(reveal, &caller, &format!("event {seq}")).await?;
    room.read(veil, move |reader| reader.event(Seq(seq)))
        .await
        .map(Json)
}

async fn explanation(State(room): Rooms, Named(seq): Named<u64>) -> Answer<Vec<ExplanationView>> {
    let (handle, veil) = (room.handle.clone(), room.veil.clone());
    room.read(room.veil.clone(), move |_| {
        explanation::of_event(&handle, &veil, Seq(seq))
    })
    .await
    .map(Json)
}

async fn activity(State(room): Rooms, Asked(filter): Asked<ActivityFilter>) -> Answer<ActivityView> {
    let store = room.handle.store().clone();
    let minutes = filter.minutes.unwrap_or(activity::DEFAULT_MINUTES);
    room.read(room.veil.clone(), move |_| {
        activity::of_minutes(&store, minutes, Timestamp::now())
    })
    .await
    .map(Json)
}

async fn executions(
    State(room): Rooms,
    By(caller): By,
    Asked(filter): Asked<ExecutionFilter>,
) -> Result<Either<ExecutionView>, Failure> {
    let veil = room.veil.clone();
    if !filter.follow {
        let asked = filter.clone();
        let page = room
            .read(veil, move |reader| reader.executions_for(&asked, caller.role))
            .await?;
        let listed = Listed::new("/v1/executions", page, |cursor| ExecutionFilter {
            cursor: Some(cursor),
            ..filter
        });
        return Ok(As::new(listed.into_response()));
    }
    let live = room.handle.subscribe();
    let query = query::execution_query(&filter)?;
    let (asked, role) = (query.clone(), caller.role);
    let (listed, views) = room
        .read(veil.clone(), move |reader| {
            let listed = reader.found(&asked, role)?;
            let views = reader.views(&listed)?;
            Ok((listed, views))
        })
        .await?;
    let id = room.handle.store().id().clone();
    let past: Vec<_> = views
        .into_iter()
        .rev()
        .map(|view| FeedLine::Execution(Box::new(view)))
        .collect();
    let follow = Follow::Executions {
        query,
        listed: listed
            .iter()
            .map(|execution| (execution.key.clone(), Progress::of(execution)))
            .collect(),
        veil,
        role,
    };
    let news = feed::news(caller, live, follow, id, room.shutdown.clone());
    Ok(As::new(feed::lines(stream::iter(past).chain(news))))
}

async fn story(
    State(room): Rooms,
    By(caller): By,
    Named(reference): Named<Reference>,
    Asked(Reveal { reveal }): Asked<Reveal>,
) -> Answer<Story> {
    let target = match &reference {
        Reference::Last => "last".to_owned(),
        Reference::Event(_, seq) => format!("event {seq}"),
        Reference::Execution(_, key) => key.to_string(),
    };
    let veil = room.veil(reveal, &caller, &target).await?;
    room.read(veil, move |reader| reader.story(&reference))
        .await
        .map(Json)
}

async fn output(State(room): Rooms, Named(reference): Named<Reference>) -> Answer<LiveOutputView> {
    let handle = room.handle.clone();
    room.read(room.veil.clone(), move |reader| {
        reader.output(&reference, |key| handle.live_output(key))
    })
    .await
    .map(Json)
}

async fn retry(State(room): Rooms, By(caller): By, Told(order): Told<RetryOrder>) -> Answer<RetryReply> {
    room.handle.may_start()?;
    let too_many = || {
        Failure::new(
            ErrorCode::TooLarge,
            format!("more than {LARGEST_ORDER} executions in one order"),
        )
    };
    if order.executions.len() > LARGEST_ORDER {
        return Err(too_many());
    }
    let references = order
        .executions
        .iter()
        .map(|text| text.parse::<Reference>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::new(ErrorCode::BadRequest, error.to_string()))?;
    let hooks = room.handle.hooks();
    let store = room.handle.store().clone();
    let veil = room.veil.clone();
    let veiled = move |mut view: DefinitionView| {
        veil.definition(&mut view);
        view
    };
    let mut planned = room
        .read(room.veil.clone(), move |reader| {
            let mut planned: Vec<(ExecutionKey, RetryResult)> = Vec::new();
            let mut known = HashSet::new();
            for reference in &references {
                for key in reader.resolve(reference)? {
                    if !known.insert(key.clone()) {
                        continue;
                    }
                    if known.len() > LARGEST_ORDER {
                        return Ok(None);
                    }
                    if let Some(execution) = store.execution(&key)? {
                        let recorded = store
                            .definition(&execution.progress.version)?
                            .map(|definition| convert::definition(&execution.progress.version, &definition))
                            .map(&veiled);
                        let today = hooks
                            .get(&key.hook)
                            .map(|hook| veiled(convert::definition_in_force(hook)));
                        planned.push((
                            key.clone(),
                            RetryResult {
                                execution: key.to_string(),
                                hook: key.hook.to_string(),
                                attempt: execution.progress.attempts + 1,
                                recorded,
                                today,
                                refused: not_settled(&execution.progress.state),
                            },
                        ));
                    }
                }
            }
            Ok(Some(planned))
        })
        .await?
        .ok_or_else(too_many)?;
    for (_, result) in &mut planned {
        if result.today.is_none() && !order.as_recorded && result.refused.is_none() {
            result.refused =
                Some("the hook was removed; `--as-recorded` runs the recorded definition".to_owned());
        }
    }
    if !order.dry_run {
        let keys = planned
            .iter()
            .filter(|(_, result)| result.refused.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        let answers = room.handle.retry(keys, order.as_recorded, caller.actor).await?;
        let ordered = planned.iter_mut().filter(|(_, result)| result.refused.is_none());
        for ((_, result), answer) in ordered.zip(answers) {
            result.refused = answer.err().map(|error| error.to_string());
        }
    }
    Ok(Json(RetryReply {
        results: planned.into_iter().map(|(_, result)| result).collect(),
    }))
}

/// Why an execution cannot be run again now; none when it can.
fn not_settled(state: &ExecutionState) -> Option<String> {
    match state {
        ExecutionState::Settled { .. } => None,
        ExecutionState::Queued { .. } => Some("it waits for its turn already".to_owned()),
        ExecutionState::Debouncing { due, .. } => Some(format!("it waits for a newer event until {due}")),
        ExecutionState::Running { .. } => Some("it is running".to_owned()),
        ExecutionState::Retrying { due, .. } => Some(format!("it will be retried by itself at {due}")),
    }
}

async fn cancel(
    State(room): Rooms,
    By(caller): By,
    Named(reference): Named<Reference>,
    _: Wordless,
) -> Answer<Ordered> {
    let key = room
        .read(room.veil.clone(), move |reader| reader.one(&reference))
        .await?;
    room.handle.cancel(key.clone(), caller.actor).await?;
    Ok(Json(Ordered {
        execution: key.to_string(),
    }))
}

async fn hooks(State(room): Rooms) -> Answer<Vec<HookView>> {
    room.hook_views().await.map(Json)
}

async fn enable(
    State(room): Rooms,
    By(caller): By,
    Named(name): Named<String>,
    _: Wordless,
) -> Answer<HookView> {
    room.set_enabled(HookName::trusted(&name), Some(true), caller.actor)
        .await
}

async fn disable(
    State(room): Rooms,
    By(caller): By,
    Named(name): Named<String>,
    _: Wordless,
) -> Answer<HookView> {
    room.set_enabled(HookName::trusted(&name), Some(false), caller.actor)
        .await
}

async fn reset(
    State(room): Rooms,
    By(caller): By,
    Named(name): Named<String>,
    _: Wordless,
) -> Answer<HookView> {
    room.set_enabled(HookName::trusted(&name), None, caller.actor)
        .await
}

async fn stop(
    State(room): Rooms,
    By(caller): By,
    Named(name): Named<String>,
    Told(order): Told<StopOrder>,
) -> Answer<StopReply> {
    let hook = HookName::trusted(&name);
    Ok(Json(
        mutes::order_stop(&room.handle, hook, order, caller.actor).await?,
    ))
}

async fn mute(State(room): Rooms, By(caller): By, Told(order): Told<MuteOrder>) -> Answer<MuteReply> {
    let mut reply = mutes::order_mute(&room.handle, order, caller.actor).await?;
    room.veil.mute(&mut reply.mute);
    Ok(Json(reply))
}

async fn unmute(State(room): Rooms, By(caller): By, Told(order): Told<UnmuteOrder>) -> Answer<UnmuteReply> {
    Ok(Json(
        mutes::order_unmute(&room.handle, order, caller.actor).await?,
    ))
}

async fn reload(State(room): Rooms, By(caller): By, Told(order): Told<ReloadOrder>) -> Answer<ReloadReply> {
    let report = room.handle.reload(order.accept, caller.actor).await?;
    Ok(Json(convert::reload(&report)))
}

async fn seek_to(
    State(room): Rooms,
    By(caller): By,
    Named(name): Named<String>,
    Told(order): Told<SeekOrder>,
) -> Answer<SeekReply> {
    Ok(Json(seek::order(&room.handle, &name, order, caller.actor).await?))
}

async fn emit(State(room): Rooms, By(caller): By, Told(order): Told<EmitOrder>) -> Answer<EmitReply> {
    let document = BASE64.decode(&order.payload).map_err(|error| {
        Failure::new(
            ErrorCode::BadRequest,
            format!("the payload is no base64: {error}"),
        )
    })?;
    let event = if let Some(saved) = saved::of_a_form_of_its_own(&document) {
        if let Facts::Undecodable { reason } = saved.facts {
            return Err(Failure::new(ErrorCode::BadRequest, reason));
        }
        Event {
            source: EMITTED.into(),
            synthesised: true,
            ..saved
        }
    } else if own::is_own(&document) {
        let own = own::read(&document);
        if let Facts::Undecodable { reason } = own.facts {
            return Err(Failure::new(ErrorCode::BadRequest, reason));
        }
        Event {
            source: EMITTED.into(),
            ..own
        }
    } else {
        emitted(order.key, document)
    };
    let hook = order.hook.as_deref().map(HookName::trusted);
    let accepted = room.handle.emit(event, hook, caller.actor).await?;
    Ok(Json(EmitReply {
        seq: accepted.seq.0,
        executions: accepted.executions.iter().map(ToString::to_string).collect(),
    }))
}

/// An event as OpenNebula would have sent it.
fn emitted(key: String, document: Vec<u8>) -> Event {
    let reading = opennebula::read(&key, &document);
    Event {
        seq: Seq::default(),
        source: EMITTED.into(),
        key,
        subject: reading.subject.as_deref().map(Subject::new),
        received: Timestamp::now(),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: true,
        payload: Payload::new(document.into()),
    }
}

/// The live feed.
async fn follow(
    State(room): Rooms,
    By(caller): By,
    Asked(filter): Asked<FeedFilter>,
    headers: HeaderMap,
) -> As<Events<FeedMessage>> {
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last_seen = last_seen.filter(|id| !id.is_empty());
    As::new(sse::feed(&room, caller, filter, last_seen))
}

async fn session(Door(guard): Door, headers: HeaderMap) -> Answer<SessionView> {
    guard.present(&headers).map(Json)
}

async fn begin_session(Door(guard): Door, headers: HeaderMap) -> Result<As<Json<SessionView>>, Failure> {
    guard.begin(&headers).map(As::new)
}

async fn end_session(Door(guard): Door, headers: HeaderMap) -> Result<As<Nothing>, Failure> {
    guard.end(&headers).map(As::new)
}

async fn document() -> As<AnyJson> {
    As::new(Json(openapi::document()).into_response())
}

async fn audit(State(room): Rooms, Asked(filter): Asked<AuditFilter>) -> Result<Listed<AuditView>, Failure> {
    let asked = filter.clone();
    let page = room
        .read(room.veil.clone(), move |reader| reader.audit(&asked))
        .await?;
    Ok(Listed::new("/v1/audit", page, |cursor| AuditFilter {
        cursor: Some(cursor),
        ..filter
    }))
}

async fn export(
    State(room): Rooms,
    By(caller): By,
    Asked(filter): Asked<ExportFilter>,
) -> Result<As<Lines<ExportLine>>, Failure> {
    let veil = room.veil(filter.reveal, &caller, "export").await?;
    let exporter = Exporter::new(room.handle.store().clone(), veil, filter)?;
    Ok(As::new(feed::chunks(exporter, caller, room.shutdown.clone())))
}
