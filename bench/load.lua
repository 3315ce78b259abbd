-- Ten request fields. PREFIX is the path's beginning, e.g. /users/. With VARY=1 the target and the traceparent differ in
-- every request; else all requests are equal. ROUTES=n goes through the prefixes /r0/ … /r(n-1)/. CLOSE=1: a connection
-- for every request.
local vary, routes = os.getenv("VARY") == "1", tonumber(os.getenv("ROUTES") or "0")
local prefix = os.getenv("PREFIX") or "/users/"
local fields = {
  ["Host"] = "api.example.org",
  ["X-API-Key"] = os.getenv("KEY"),
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  ["Accept"] = "application/json, text/plain, */*",
  ["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3",
  ["Accept-Encoding"] = "gzip, deflate, br",
  ["Referer"] = "https://app.example.org/dashboard/users",
  ["Cookie"] = "session=3f1e9a7c5b2d4860; theme=dark",
  ["X-Client-Version"] = "web/4.18.2",
  ["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
if os.getenv("CLOSE") == "1" then fields["Connection"] = "close" end
local text, count, stride = "", 0, 7919 -- a prime: the routes are not asked in their order

function init(args)
  if not vary then
    text = wrk.format("GET", prefix .. (os.getenv("LAST") or "1"), fields)
    return
  end
  local head = wrk.format("GET", "/TARGET", fields):gsub("%%", "%%%%")
  head = head:gsub("GET /TARGET ", routes > 0 and "GET /r%%d/%%d?n=%%x " or "GET " .. prefix .. "%%d?n=%%x ", 1)
  text = head:gsub("00%-4bf92f3577b34da6a3ce929d0e0e4736%-00f067aa0ba902b7%-01",
    "00-4bf92f3577b34da6a3ce9%%011x-00f067aa%%08x-01", 1)
end

function request()
  if not vary then return text end
  count = count + 1
  if routes > 0 then return text:format(count * stride % routes, count % 100000, count, count, count) end
  return text:format(count % 100000, count, count, count)
end
