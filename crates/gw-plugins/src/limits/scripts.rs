//! What is done in Redis, each thing at one go: nobody else's counts come between.

/// One thing that is done in Redis, on some keys and with some arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Counts in several windows, if all have room. Each key a window; the amount, then limit and life in seconds of
    /// each. Gives what is used of each, then 1 if it passed.
    Take,
    /// Gives what is used of each key.
    Read,
    /// Adds to each key. For each the amount and its life in seconds; gives the sums.
    Add,
    /// Counts in a window that began with its first call, of each key, if all have room. The amount, then limit and length
    /// in seconds of each. For each gives what is used and the milliseconds to the window's end, then 1 if it passed.
    TakeFixed,
    /// Counts in a window that slides, of each key, if all have room. As [`Script::TakeFixed`].
    TakeSliding,
    /// Pours one call into a leaky bucket. Thousandths of calls that leak per second, and that it holds. Gives what is in it
    /// before it leaked out, in thousandths, or -1 if it is full.
    Leak,
    /// Adds a member to a set of those under way, if there is room. The most there may be, milliseconds until a member
    /// that does not leave is forgotten, the member. Gives how many there are, or -1.
    Enter,
    /// Takes the member out.
    Leave,
}

impl Script {
    pub(crate) const ALL: [Self; 8] = [
        Self::Take,
        Self::Read,
        Self::Add,
        Self::TakeFixed,
        Self::TakeSliding,
        Self::Leak,
        Self::Enter,
        Self::Leave,
    ];

    /// Whether it does no more if it is run twice.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "there is no Redis to run it in")
    )]
    pub(crate) fn may_be_repeated(self) -> bool {
        matches!(self, Self::Read | Self::Leave)
    }

    /// In Redis' language.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Take => TAKE,
            Self::Read => READ,
            Self::Add => ADD,
            Self::TakeFixed => TAKE_FIXED,
            Self::TakeSliding => TAKE_SLIDING,
            Self::Leak => LEAK,
            Self::Enter => ENTER,
            Self::Leave => LEAVE,
        }
    }
}

const TAKE: &str = "local used, passes = {}, 1
    for i, key in ipairs(KEYS) do
        used[i] = tonumber(redis.call('GET', key) or '0')
        if used[i] + tonumber(ARGV[1]) > tonumber(ARGV[2 * i]) then passes = 0 end
    end
    if passes == 1 then
        for i, key in ipairs(KEYS) do
            used[i] = redis.call('INCRBY', key, ARGV[1])
            if used[i] == tonumber(ARGV[1]) then redis.call('EXPIRE', key, ARGV[2 * i + 1]) end
        end
    end
    used[#used + 1] = passes
    return used";

const READ: &str = "local used = {}
    for i, key in ipairs(KEYS) do used[i] = tonumber(redis.call('GET', key) or '0') end
    return used";

const ADD: &str = "local used = {}
    for i, key in ipairs(KEYS) do
        used[i] = redis.call('INCRBY', key, ARGV[2 * i - 1])
        if redis.call('TTL', key) < 0 then redis.call('EXPIRE', key, ARGV[2 * i]) end
    end
    return used";

const TAKE_FIXED: &str = "local given, passes = {}, 1
    for i, key in ipairs(KEYS) do
        local used = tonumber(redis.call('GET', key) or '0')
        if used + tonumber(ARGV[1]) > tonumber(ARGV[2 * i]) then passes = 0 end
        given[2 * i - 1] = used
    end
    for i, key in ipairs(KEYS) do
        if passes == 1 then
            given[2 * i - 1] = redis.call('INCRBY', key, ARGV[1])
            if redis.call('PTTL', key) < 0 then redis.call('EXPIRE', key, ARGV[2 * i + 1]) end
        end
        given[2 * i] = math.max(0, redis.call('PTTL', key))
    end
    given[#given + 1] = passes
    return given";

const TAKE_SLIDING: &str = "local now = redis.call('TIME')
    now = now[1] * 1000 + math.floor(now[2] / 1000)
    local given, passes, windows = {}, 1, {}
    for i, key in ipairs(KEYS) do
        local length = tonumber(ARGV[2 * i + 1]) * 1000
        local window = math.floor(now / length)
        local held = redis.call('HMGET', key, 'window', 'used', 'before')
        local at, used, before = tonumber(held[1]), tonumber(held[2] or '0'), tonumber(held[3] or '0')
        if at ~= window then
            if at == window - 1 then before = used else before = 0 end
            used = 0
        end
        local left = length - now % length
        local sum = used + math.ceil(before * left / length)
        if sum + tonumber(ARGV[1]) > tonumber(ARGV[2 * i]) then passes = 0 end
        windows[i] = { window, used, before, length }
        given[2 * i - 1], given[2 * i] = sum, left
    end
    if passes == 1 then
        for i, key in ipairs(KEYS) do
            local w = windows[i]
            redis.call('HSET', key, 'window', w[1], 'used', w[2] + ARGV[1], 'before', w[3])
            redis.call('PEXPIRE', key, 2 * w[4])
            given[2 * i - 1] = given[2 * i - 1] + ARGV[1]
        end
    end
    given[#given + 1] = passes
    return given";

const LEAK: &str = "local now = redis.call('TIME')
    now = now[1] * 1000 + math.floor(now[2] / 1000)
    local held = redis.call('HMGET', KEYS[1], 'excess', 'at')
    local excess, rate, burst = 0, tonumber(ARGV[1]), tonumber(ARGV[2])
    if held[1] then
        local leaked = rate * math.max(0, now - tonumber(held[2])) / 1000
        excess = math.max(0, tonumber(held[1]) - leaked + 1000)
    end
    if excess > burst then return -1 end
    redis.call('HSET', KEYS[1], 'excess', excess, 'at', now)
    redis.call('PEXPIRE', KEYS[1], math.ceil((excess + 1000) / rate * 1000))
    return math.floor(excess)";

const ENTER: &str = "local now = redis.call('TIME')
    now = now[1] * 1000 + math.floor(now[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    local under_way = redis.call('ZCARD', KEYS[1])
    if under_way >= tonumber(ARGV[1]) then return -1 end
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return under_way + 1";

const LEAVE: &str = "return redis.call('ZREM', KEYS[1], ARGV[1])";

/// An argument of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument<'a> {
    Number(u64),
    Text(&'a str),
}
