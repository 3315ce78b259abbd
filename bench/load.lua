-- Ten request fields. With VARY=1 the traceparent and the target differ in every request; else all requests are equal.
local vary = os.getenv("VARY") == "1"
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
local text, count = "", 0

function init(args)
  local head = wrk.format("GET", "/users/1", fields)
  if not vary then
    text = head
    return
  end
  local path = head:gsub("%%", "%%%%"):gsub("GET /users/1 ", "GET /users/%%d?n=%%x ", 1)
  text = path:gsub("00%-4bf92f3577b34da6a3ce929d0e0e4736%-00f067aa0ba902b7%-01",
    "00-4bf92f3577b34da6a3ce9%%011x-00f067aa%%08x-01", 1)
end

function request()
  if not vary then return text end
  count = count + 1
  return text:format(count % 100000, count, count, count)
end
