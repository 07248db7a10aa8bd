//! Where everything stands in the one tree. One tree, because only a batch on one tree is atomic.
//!
//! A key begins with a letter for its kind; numbers are big-endian, so that a scan is in event order.

use crate::engine::mute::Scope;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::opennebula::Resource;
use crate::event::opennebula::pool::ResourceId;
use crate::hooks::Version;

/// The kinds of entries. The letters are part of the stored format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Space {
    /// An event, by number; its payload behind it where that is short.
    Event = b'E',
    /// A piece of an event's payload that does not stand behind its event, by number and piece.
    Payload = b'P',
    /// An execution, how far it got, and one of its attempts, the newest as a rule, by event and hook.
    Execution = b'X',
    /// Executions that have not reached their end, by event and hook; not those of the newest events.
    Unsettled = b'Q',
    /// Attempts that do not stand in their execution's record, and outputs, by event, hook, attempt, part and piece.
    Attempt = b'A',
    /// Executions by hook and event, so that one hook's are found without looking at the others.
    ByHook = b'H',
    /// The newest execution of a controller's hook by the arguments it ran with, so that a RETRY message finds it.
    ByArguments = b'R',
    /// Events that matched nothing, by number.
    Unmatched = b'U',
    /// Hook definitions, by version.
    Definition = b'D',
    /// Operators' overrides, by hook.
    Override = b'O',
    /// Mutes, by scope.
    Mute = b'W',
    /// Own events that are still to be told, by identity and piece.
    Untold = b'V',
    /// The last good text of each hook file, by file and piece.
    LastGood = b'G',
    /// The audit log, by number.
    Audit = b'L',
    /// Attempts of which a controller is still to be told, by number.
    Owed = b'Y',
    /// What is known of a source's resources, by source; the last known state of each, by source, kind and number.
    Known = b'K',
    /// What a source wants to find again, by source and name.
    Bookmark = b'B',
    /// What became of a gap, by the number of the event that records it.
    GapStory = b'C',
    /// What the store says of itself, by name.
    Meta = b'M',
    /// Pieces of a record that is too long to stand under its own key, by event, that key and piece.
    Long = b'Z',
}

/// What of an attempt stands apart from its execution's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum AttemptPart {
    /// Its release, its process and its end.
    Record = 0,
    Stdout = 1,
    Stderr = 2,
}

pub(super) fn space(space: Space) -> Vec<u8> {
    vec![space as u8]
}

/// Behind all keys of a kind.
pub(super) fn space_after(space: Space) -> Vec<u8> {
    vec![space as u8 + 1]
}

pub(super) fn event(seq: Seq) -> Vec<u8> {
    numbered(Space::Event, seq.0)
}

pub(super) fn payload(seq: Seq) -> Vec<u8> {
    numbered(Space::Payload, seq.0)
}

/// The beginning of the pieces of the record at `key`, which belongs to event `seq`.
pub(super) fn long(seq: Seq, key: &[u8]) -> Vec<u8> {
    let mut bytes = numbered(Space::Long, seq.0);
    bytes.extend_from_slice(key);
    // Names hold no NUL, so the pieces of `a` are not mistaken for those of `ab`.
    bytes.push(0);
    bytes
}

pub(super) fn unmatched(seq: Seq) -> Vec<u8> {
    numbered(Space::Unmatched, seq.0)
}

pub(super) fn audit(number: u64) -> Vec<u8> {
    numbered(Space::Audit, number)
}

pub(super) fn owed(number: u64) -> Vec<u8> {
    numbered(Space::Owed, number)
}

pub(super) fn gap_story(record: Seq) -> Vec<u8> {
    numbered(Space::GapStory, record.0)
}

/// Where it stands what is known of a source besides its resources' states: the beginning of all that is known of it.
pub(super) fn baseline(source: &str) -> Vec<u8> {
    let mut bytes = space(Space::Known);
    bytes.extend_from_slice(source.as_bytes());
    // Names of sources hold no NUL, so what is known of `a` is not mistaken for what is known of `ab`.
    bytes.push(0);
    bytes
}

/// The source in a key that `baseline` made; none of a key below such a one.
pub(super) fn source_of_baseline(key: &[u8]) -> Option<&str> {
    let source = key.get(1..)?.strip_suffix(&[0])?;
    std::str::from_utf8(source)
        .ok()
        .filter(|source| !source.contains('\0'))
}

pub(super) fn known_state(source: &str, id: &ResourceId) -> Vec<u8> {
    let mut bytes = baseline(source);
    bytes.extend_from_slice(id.resource.as_str().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&id.number.to_be_bytes());
    bytes
}

/// The beginning of all that a source wants to find again.
pub(super) fn bookmarks(source: &str) -> Vec<u8> {
    let mut bytes = space(Space::Bookmark);
    bytes.extend_from_slice(source.as_bytes());
    // Names of sources hold no NUL, so the bookmarks of `a` are not mistaken for those of `ab`.
    bytes.push(0);
    bytes
}

pub(super) fn bookmark(source: &str, name: &str) -> Vec<u8> {
    let mut bytes = bookmarks(source);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// The resource in a key below `baseline(source)`, which is `prefix`.
pub(super) fn resource_of_known(key: &[u8], prefix: &[u8]) -> Option<ResourceId> {
    let (name, number) = key.strip_prefix(prefix)?.split_last_chunk::<8>()?;
    let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?;
    Some(ResourceId {
        resource: Resource::parse(name),
        number: u64::from_be_bytes(*number),
    })
}

pub(super) fn numbered(space: Space, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(space as u8);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key that `numbered` made, or that begins like one.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?))
}

pub(super) fn of_execution(space: Space, key: &ExecutionKey) -> Vec<u8> {
    let mut bytes = numbered(space, key.event.0);
    bytes.extend_from_slice(key.hook.as_str().as_bytes());
    bytes
}

/// The execution in a key that `of_execution` made.
pub(super) fn execution(key: &[u8]) -> Option<ExecutionKey> {
    let hook = std::str::from_utf8(key.get(9..)?).ok()?;
    Some(ExecutionKey::new(Seq(number(key)?), HookName::trusted(hook)))
}

/// The beginning of all attempts of an execution.
pub(super) fn attempts(key: &ExecutionKey) -> Vec<u8> {
    let mut bytes = of_execution(Space::Attempt, key);
    // Names hold no NUL, so `a` is not mistaken for the beginning of `ab`.
    bytes.push(0);
    bytes
}

pub(super) fn attempt(key: &ExecutionKey, attempt: u32, part: AttemptPart) -> Vec<u8> {
    let mut bytes = attempts(key);
    bytes.extend_from_slice(&attempt.to_be_bytes());
    bytes.push(part as u8);
    bytes
}

/// The attempt's number in a key below `attempts(execution)`.
pub(super) fn attempt_number(key: &[u8], prefix_len: usize) -> Option<u32> {
    Some(u32::from_be_bytes(
        key.get(prefix_len..prefix_len + 4)?.try_into().ok()?,
    ))
}

/// The beginning of all executions of a hook.
pub(super) fn by_hook(hook: &HookName) -> Vec<u8> {
    let mut bytes = space(Space::ByHook);
    bytes.extend_from_slice(hook.as_str().as_bytes());
    bytes.push(0);
    bytes
}

pub(super) fn by_hook_and_event(key: &ExecutionKey) -> Vec<u8> {
    let mut bytes = by_hook(&key.hook);
    bytes.extend_from_slice(&key.event.0.to_be_bytes());
    bytes
}

/// The beginning of all a hook's executions by their arguments.
pub(super) fn by_arguments(hook: &HookName) -> Vec<u8> {
    let mut bytes = space(Space::ByArguments);
    bytes.extend_from_slice(hook.as_str().as_bytes());
    bytes.push(0);
    bytes
}

pub(super) fn by_hook_and_arguments(hook: &HookName, arguments: &[u8; 32]) -> Vec<u8> {
    let mut bytes = by_arguments(hook);
    bytes.extend_from_slice(arguments);
    bytes
}

pub(super) fn definition(version: &Version) -> Vec<u8> {
    let mut bytes = space(Space::Definition);
    bytes.extend_from_slice(&version.0);
    bytes
}

pub(super) fn of_override(hook: &HookName) -> Vec<u8> {
    let mut bytes = space(Space::Override);
    bytes.extend_from_slice(hook.as_str().as_bytes());
    bytes
}

pub(super) fn of_mute(scope: &Scope) -> Vec<u8> {
    let mut bytes = space(Space::Mute);
    let parts: &[&str] = match scope {
        Scope::All => &["all"],
        Scope::Source(source) => &["source", source],
        Scope::Hook(hook) => &["hook", hook.as_str()],
        Scope::Lane(hook, subject) => &["lane", hook.as_str(), subject.as_str()],
    };
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
        // Names of hooks and sources hold no NUL, so no two scopes share a key.
        bytes.push(0);
    }
    bytes
}

/// The beginning of the pieces of the own event of an identity.
pub(super) fn untold(identity: &str) -> Vec<u8> {
    let mut bytes = space(Space::Untold);
    bytes.extend_from_slice(identity.as_bytes());
    // Identities hold no NUL, so the pieces of `a` are not mistaken for those of `ab`.
    bytes.push(0);
    bytes
}

pub(super) fn last_good(file: &str) -> Vec<u8> {
    let mut bytes = space(Space::LastGood);
    bytes.extend_from_slice(file.as_bytes());
    bytes.push(0);
    bytes
}

pub(super) fn meta(name: &str) -> Vec<u8> {
    let mut bytes = space(Space::Meta);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// Whether a key below `attempts(execution)`, which is `prefix`, is a piece of output.
pub(super) fn is_output(key: &[u8], prefix: &[u8]) -> bool {
    key.get(prefix.len() + 4)
        .is_some_and(|part| *part >= AttemptPart::Stdout as u8)
}

/// The execution in a key that `by_hook_and_event` made.
pub(super) fn of_hook(key: &[u8]) -> Option<ExecutionKey> {
    let ends = key.len().checked_sub(8)?;
    let event = u64::from_be_bytes(key.get(ends..)?.try_into().ok()?);
    let hook = std::str::from_utf8(key.get(1..ends)?.strip_suffix(b"\0")?).ok()?;
    Some(ExecutionKey::new(Seq(event), HookName::trusted(hook)))
}

/// The execution that a key below `attempts(execution)` belongs to.
pub(super) fn execution_of_attempt(key: &[u8]) -> Option<ExecutionKey> {
    let ends = key.iter().skip(9).position(|byte| *byte == 0)? + 9;
    execution(key.get(..ends)?)
}
