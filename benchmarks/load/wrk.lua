-- POST the content of a file; print what happened as one line of JSON.
-- Arguments: the file, "end" or "last answer" (until when the time counts), then headers as
-- "Name: value".

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  if args[2] == "last answer" then
    watch_answers()
  end
  for i = 3, #args do
    local name, value = args[i]:match("^(.-): (.*)$")
    wrk.headers[name] = value
  end
end

-- A call of Lua for each answer: too dear where there are thousands in a second.
function watch_answers()
  local ffi = require("ffi")
  ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int clock, moment *at);")
  local now, CLOCK_MONOTONIC = ffi.new("moment"), 1
  local function microseconds()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, now)
    return tonumber(now.s) * 1e6 + tonumber(now.ns) / 1e3
  end
  local begun = microseconds()
  function response()
    until_last_us = microseconds() - begun
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  local duration_us = 0
  for _, thread in ipairs(threads) do
    duration_us = math.max(duration_us, thread:get("until_last_us") or 0)
  end
  if duration_us == 0 then
    duration_us = summary.duration
  end
  io.write(string.format(
    '\n{"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%.1f,"p99_us":%.1f,'
      .. '"bad_status":%d,"socket_errors":%d}\n',
    summary.requests, summary.bytes, duration_us,
    latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
