// The HTTP API as the page uses it. Every failure is an ApiError with a `kind` that the page has words for.

import { kept } from "./dom.js";

const keyStore = kept(sessionStorage, "key", "");

export class ApiError extends Error {
  /** kind: offline | timeout | key | forbidden | missing | large | busy | refused | server */
  constructor(kind, { status = 0, reason = "", retryAfter = 0, data = null } = {}) {
    super(reason || kind);
    this.kind = kind;
    this.status = status;
    this.reason = reason;
    this.retryAfter = retryAfter;
    this.data = data; // what the server said beside its reason
  }

  /** True where the same request may succeed later. */
  get passing() {
    return ["offline", "timeout", "busy", "server"].includes(this.kind);
  }
}

export const key = {
  get: () => keyStore.get(),
  set: (value) => keyStore.set(value),
  clear: () => keyStore.clear(),
  /** Takes the key out of `/#key=…`, so that it stands neither in the address bar nor in the history. */
  takeFromAddress() {
    const found = /^#key=(.+)$/.exec(location.hash);
    if (!found) return false;
    try {
      keyStore.set(decodeURIComponent(found[1]));
    } catch {
      keyStore.set(found[1]);
    }
    history.replaceState(null, "", location.pathname + location.search);
    return true;
  },
};

async function request(method, path, { body, seconds = 15, withKey = true, signal } = {}) {
  // Not AbortSignal.any and .timeout: web views inside chat clients are often some years old.
  const control = new AbortController();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    control.abort();
  }, seconds * 1000);
  const giveUp = () => control.abort();
  signal?.addEventListener("abort", giveUp);
  const headers = { accept: "application/json" };
  if (withKey) headers.authorization = `Bearer ${key.get()}`;
  const file = body instanceof Blob;
  if (body !== undefined) headers["content-type"] = file ? "application/octet-stream" : "application/json";
  let response;
  let data = null;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined || file ? body : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: control.signal,
    });
    const text = await response.text();
    data = parse(text);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(late ? "timeout" : "offline");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  }
  if (response.ok) return data ?? {};
  const said = data?.error?.message ?? data?.error ?? data?.reason ?? data?.detail ?? data?.message;
  throw new ApiError(kindOf(response.status), {
    status: response.status,
    reason: typeof said === "string" ? said.replace(/^webchat: /, "") : "",
    retryAfter: Number(response.headers.get("retry-after")) || 0,
    data,
  });
}

/** The JSON in `text`; null where it is something else and the status alone tells. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function kindOf(status) {
  if (status === 401) return "key";
  if (status === 403) return "forbidden";
  if (status === 404) return "missing";
  if (status === 413) return "large";
  if (status === 429) return "busy";
  if (status === 408 || status >= 500) return "server";
  return "refused";
}

/** Sends a file's bytes. */
export const upload = (path, file) => request("PUT", path, { body: file, seconds: 120 });

export const api = {
  get: (path, options) => request("GET", path, options),
  post: (path, body, options) => request("POST", path, { body, ...options }),
  put: (path, body, options) => request("PUT", path, { body, ...options }),
  remove: (path, options) => request("DELETE", path, options),

  send: (message) => request("POST", "/webhook/webchat/messages", { body: message }),
  turns: (conversation, after, options) =>
    request("GET", `/api/conversations/${encodeURIComponent(conversation)}/turns${after ? `?after=${encodeURIComponent(after)}` : ""}`, options),
  health: () => request("GET", "/health", { withKey: false, seconds: 8 }),
};
