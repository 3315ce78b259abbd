-- Posts the same JSON again and again: the text of the file BODY, with the key KEY.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"], wrk.headers["X-API-Key"] = "application/json", os.getenv("KEY")
file:close()
