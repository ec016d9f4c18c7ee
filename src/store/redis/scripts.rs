//! The Lua scripts: each is atomic, and all its keys are in one slot of a cluster.
//!
//! The first key is a sorted set that holds the invalidations of a shard. The score of a member is the sequence number of an
//! invalidation:
//!
//! | member | score |
//! |---|---|
//! | `s` | the last number that was given |
//! | `f` | values with a smaller number are void |
//! | `t` and a purge | the number of this purge |
//!
//! The responses for single credentials of a URL have keys that the removal of the URL does not know. The last key is the mark of
//! the URL: the number of its last removal, or the void number when the first of them was written. They are void below it, and
//! without it.
//!
//! Numbers are microseconds of the server's clock, or one more than the last. If the set is missing (a new server, `FLUSHALL`,
//! eviction), everything is void: a lookup creates it with the current time as both `s` and `f`.

use std::sync::LazyLock;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::connection::Connection;
use super::failure::Failure;
use super::resp::{Allowance, Reply};

/// The functions that the scripts share. `false` stands for a missing value.
const COMMON: &str = r#"
local function text(number) return string.format('%.0f', number) end
local function now() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end
local function sequence()
  local s = redis.pcall('ZSCORE', KEYS[1], 's')
  if type(s) == 'table' then redis.call('DEL', KEYS[1]); s = false end
  if not s then
    s = text(now())
    redis.call('ZADD', KEYS[1], s, 's', s, 'f')
  end
  return tonumber(s)
end
local function next_sequence() return math.max(sequence() + 1, now()) end
local function value(from, to)
  local v = redis.pcall('GETRANGE', KEYS[2], from, to)
  if type(v) == 'table' then return '' end
  return v
end
local function mark()
  local m = redis.pcall('GET', KEYS[3])
  return type(m) == 'string' and tonumber(m)
end
"#;

/// `state value [mark]`, `since most`: the last number, the void number, the value, and all purges since the number or that of the
/// value. Of a value with more bytes, only the head is read.
pub(super) static READ: LazyLock<Lua> = LazyLock::new(|| {
    script(
        r#"
local s, v, since = sequence(), value(0, tonumber(ARGV[2])), tonumber(ARGV[1])
local floor = redis.call('ZSCORE', KEYS[1], 'f')
if KEYS[3] then
  local m = mark()
  if m and m > tonumber(floor) then floor = text(m) end
  if not m and string.sub(v, 6, 6) == 'V' then redis.call('DEL', KEYS[2]); v = '' end
end
if #v > tonumber(ARGV[2]) then v = string.sub(v, 1, 38) end
local own = string.sub(v, 1, 5) == 'fwdr1' and tonumber(string.sub(v, 7, 22))
if own and own < since then since = own end
local list = {}
if since < s then list = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(since), '+inf', 'WITHSCORES') end
return {text(s), floor, v, list}
"#,
    )
});

/// `state value [mark]`, `sequence head value milliseconds milliseconds milliseconds`: writes a value unless something was
/// invalidated since the number, or the value there no longer begins with this head. The last arguments are the lifetime of the mark,
/// and for how long a removal is remembered: a value that replaces its mark remains at least as long as the mark would.
pub(super) static WRITE: LazyLock<Lua> = LazyLock::new(|| {
    script(
        r#"
local s = redis.pcall('ZSCORE', KEYS[1], 's')
if s ~= ARGV[1] or value(0, 37) ~= ARGV[2] then return 0 end
if KEYS[3] then redis.call('SET', KEYS[3], text(mark() or redis.call('ZSCORE', KEYS[1], 'f')), 'PX', ARGV[5]) end
local left = math.min(redis.call('PTTL', KEYS[2]), tonumber(ARGV[6]))
redis.call('SET', KEYS[2], ARGV[3], 'PX', text(math.max(left, tonumber(ARGV[4]))))
return 1
"#,
    )
});

/// `state value [mark]`, `milliseconds`: replaces a value by the mark of its removal. Returns whether it held responses. Without
/// memory for that, the whole shard is voided, which frees memory. Nothing is deleted first: a node that gives the slot away refuses
/// to create keys in it.
pub(super) static REMOVE: LazyLock<Lua> = LazyLock::new(|| {
    script(
        r#"
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]); return 0 end
local n, held = next_sequence(), string.sub(value(0, 5), 6, 6) == 'V'
local done = redis.pcall('ZADD', KEYS[1], text(n), 's')
if type(done) ~= 'table' then
  done = redis.pcall('SET', KEYS[2], 'fwdr1T' .. string.format('%016.0f', n), 'PX', ARGV[1])
end
if KEYS[3] and not (type(done) == 'table' and done.err) then
  local left = math.max(redis.call('PTTL', KEYS[3]), tonumber(ARGV[1]))
  done = redis.pcall('SET', KEYS[3], text(n), 'PX', text(left))
end
if type(done) == 'table' and done.err then redis.call('DEL', KEYS[2]); redis.call('DEL', KEYS[1]) end
if held then return 1 end
return 0
"#,
    )
});

/// `state`, `purge most microseconds`: lists a purge; an empty one voids everything. Purges older than the time, and those beyond
/// the bound, are dropped; everything older than the latter is void then.
pub(super) static PURGE: LazyLock<Lua> = LazyLock::new(|| {
    script(
        r#"
if redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
local n, done = next_sequence(), nil
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
  redis.pcall('ZADD', KEYS[1], text(n), 's', text(n), 'f')
  return 1
end
done = redis.pcall('ZADD', KEYS[1], text(n), 's', text(n), ARGV[1])
if type(done) == 'table' then redis.call('DEL', KEYS[1]); return 1 end
local floor = redis.call('ZSCORE', KEYS[1], 'f')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. floor, '(' .. text(now() - tonumber(ARGV[3])))
local excess = redis.call('ZCARD', KEYS[1]) - 2 - tonumber(ARGV[2])
if excess > 0 then
  local dropped = redis.call('ZRANGE', KEYS[1], excess, excess, 'WITHSCORES')
  redis.call('ZREMRANGEBYRANK', KEYS[1], 1, excess)
  redis.call('ZADD', KEYS[1], dropped[2], 'f')
end
return 1
"#,
    )
});

/// A script and the name by which a server knows it.
pub(super) struct Lua {
    hash: String,
    text: String,
}

fn script(body: &str) -> Lua {
    let text = format!("{COMMON}{body}");
    // Redis names scripts by their SHA-1.
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Lua { hash, text }
}

/// Runs a script; sends its text only if the server does not know it yet.
pub(super) fn run(
    connection: &mut Connection,
    lua: &Lua,
    keys: &[&str],
    arguments: &[&[u8]],
    allowance: &mut Allowance,
) -> Result<Reply, Failure> {
    let count = keys.len().to_string();
    let keys = keys.iter().map(|key| key.as_bytes());
    let words: Vec<&[u8]> = [&b"EVALSHA"[..], lua.hash.as_bytes(), count.as_bytes()]
        .into_iter()
        .chain(keys)
        .chain(arguments.iter().copied())
        .collect();
    match connection.command_within(&words, allowance) {
        Err(error) if error.code() == Some("NOSCRIPT") => {
            // A node that receives the slot of the keys redirects a second command. Then it knows the script at the next attempt.
            connection.command(&[b"SCRIPT", b"LOAD", lua.text.as_bytes()])?;
            connection.command_within(&words, allowance)
        }
        result => result,
    }
}
