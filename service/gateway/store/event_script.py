"""What happens to one user's events inside Redis: all of it or nothing, and nobody sees a half."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from models.contract.records import RECORDS_FIELD, Event, encode_record
from models.contract.redis_schema import (
    EVENTS,
    encode_events,
    encode_seen,
    event_ids_key,
    history_key,
    seen_key,
)
from models.contract.types import HistoryEvent, ItemId
from service.gateway.store.settings import EventSettings

IDS_KEPT = 1_000  # of a user's last events: as far back as a repetition is recognised
IDS_KEPT_SECONDS = 7 * 86_400

SCRIPT = """
local function load_set(key)
  local stored = redis.call('GET', key) or ''
  return {key = key, stored = string.sub(stored, 1, #stored - #stored % 8), new = {}, is_new = {}}
end

local function add(set, hash)
  if set.is_new[hash] then return false end
  local at = 0
  repeat at = string.find(set.stored, hash, at + 1, true) until not at or at % 8 == 1
  if at then return false end
  set.is_new[hash] = true
  set.new[#set.new + 1] = hash
  return true
end

local function save_set(set, kept)
  if #set.new > 0 then
    redis.call('SET', set.key, string.sub(set.stored .. table.concat(set.new), -8 * kept))
  end
end

local function time_of(event)
  local a, b, c, d = string.byte(event, 1, 4)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function split(history)
  local events, at = {}, 1
  while at <= #history do
    local length = string.byte(history, at + 4)
    if not length or length == 0 or at + 4 + length > #history then return {} end
    events[#events + 1] = string.sub(history, at, at + 4 + length)
    at = at + 5 + length
  end
  return events
end

local function insert(events, event, is_stamped)
  local last = events[#events]
  if is_stamped and last and time_of(last) > time_of(event) then
    event = string.sub(last, 1, 4) .. string.sub(event, 5)
  end
  local at = #events + 1
  while at > 1 and time_of(events[at - 1]) > time_of(event) do at = at - 1 end
  table.insert(events, at, event)
end

local history_kept, seen_kept, ids_kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local history = split(redis.call('GET', KEYS[1]) or '')
local seen, ids = load_set(KEYS[2]), load_set(KEYS[3])
local records, accepted, is_longer = {}, {}, false
for at = 7, #ARGV, 5 do
  local id, record, event, is_stamped, item = unpack(ARGV, at, at + 4)
  local is_accepted = add(ids, id)
  accepted[#accepted + 1] = is_accepted and 1 or 0
  if is_accepted then
    records[#records + 1] = record
    if item ~= '' then add(seen, item) end
    if event ~= '' then
      insert(history, event, is_stamped == '1')
      is_longer = true
    end
  end
end
if is_longer then
  redis.call('SET', KEYS[1], table.concat(history, '', math.max(1, #history - history_kept + 1)))
end
save_set(seen, seen_kept)
save_set(ids, ids_kept)
if #records > 0 then
  redis.call('EXPIRE', KEYS[3], ARGV[4])
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', ARGV[6], '[' .. table.concat(records, ',') .. ']')
end
return accepted
"""
DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # the name that Redis gives a script


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event, and whether its time is the service's: then it is not before the last one, whatever the clock says."""

    event: Event
    is_stamped: bool


def keys_of(user_id: str) -> list[str]:
    """KEYS of the script."""
    return [history_key(user_id), seen_key(user_id), event_ids_key(user_id), EVENTS]


def arguments(events: Sequence[NewEvent], settings: EventSettings) -> list[bytes | int]:
    """ARGV of the script, for events of one user. Raises FormatError where an item id is too long for a history."""
    kept: list[bytes | int] = [settings.history_kept, settings.seen_kept, IDS_KEPT]
    kept += [IDS_KEPT_SECONDS, settings.stream_kept, RECORDS_FIELD]
    for new in events:
        event = new.event
        entry = HistoryEvent(ItemId(event.item_id), event.timestamp_ms // 1_000)
        kept += [
            encode_seen([event.event_id]),
            encode_record(event),
            encode_events([entry]) if settings.enters_history(event.type, event.value) else b"",
            int(new.is_stamped),
            encode_seen([event.item_id]) if event.type in settings.seen else b"",
        ]
    return kept
