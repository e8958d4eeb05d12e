// The API: one request a question, and the stream of events. Keeps the token for this tab alone.

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.message);
    this.status = status;
    this.code = problem.code;
    this.hint = problem.hint;
  }
}

const KEY = "smegmesh-token";

// A link may bring the token behind its #, which is sent to nobody; it does not stay in the address.
export function knownToken() {
  const brought = new URLSearchParams(location.hash.slice(1)).get("token");
  if (brought) {
    sessionStorage.setItem(KEY, brought);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

export function keepToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

export class Client {
  constructor(token) {
    this.headers = { Authorization: `Bearer ${token}` };
  }

  get(path) {
    return this.ask("GET", path);
  }

  async ask(method, path, content) {
    const headers = { ...this.headers };
    if (content !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(`/api/v2${path}`, { method, headers, body: JSON.stringify(content), cache: "no-store" });
    } catch {
      throw new Refused(0, { code: "api-away", message: "smeg-api does not answer", hint: "start it again" });
    }
    const answer = await response.json();
    if (!response.ok) throw new Refused(response.status, answer.error);
    return answer;
  }

  // Each event as {kind, data}. Ends when the connection does. Source: WHATWG HTML, 9.2.6.
  async *events(place) {
    const headers = { ...this.headers };
    if (place) headers["Last-Event-ID"] = place;
    const response = await fetch("/api/v2/events/stream", { headers, cache: "no-store" });
    if (!response.ok) throw new Refused(response.status, (await response.json()).error);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s, 2)));
        if (fields.data) yield { kind: fields.event, id: fields.id, data: JSON.parse(fields.data) };
      }
    }
  }
}
