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

const whoStore = kept(sessionStorage, "who", null);

/** Who has signed in, as the server said: {id, name, role, person, scopes, by}; null before it was asked. */
export const session = {
  get: () => whoStore.get(),
  /** Asks the server who this is. */
  async load() {
    const who = await api.get("/api/session", { seconds: 10 });
    whoStore.set(who);
    return who;
  },
  forget() {
    whoStore.clear();
    keyStore.clear();
  },
  /** Ends it here and, for an account, on the server; true where that worked. */
  async end() {
    const by = whoStore.get()?.by;
    try {
      if (by === "account" && !keyStore.get()) await api.remove("/api/session");
    } finally {
      this.forget();
    }
  },
};

const INCLUDES = { user: ["user"], editor: ["user", "editor"], operator: ["user", "operator"], admin: ["user", "editor", "operator", "admin"] };

/** Whether who has signed in may do what `role` may, in `area`. The server decides; this only spares people dead ends. */
export function may(role, area = "", change = false) {
  const who = whoStore.get();
  if (!who) return true;
  if (!INCLUDES[who.role]?.includes(role)) return false;
  return !area || !who.scopes?.length || who.scopes.includes(area) || (!change && who.scopes.includes(`${area}:read`));
}

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
  const headers = { accept: "application/json", "x-requested-with": "assistant" };
  const own = withKey && key.get();
  if (own) headers.authorization = `Bearer ${own}`;
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
      credentials: own || !withKey ? "omit" : "same-origin",
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
  throw failed(response.status, data, Number(response.headers.get("retry-after")) || 0);
}

function failed(status, data, retryAfter) {
  const said = data?.error?.message ?? data?.error ?? data?.reason ?? data?.detail ?? data?.message;
  return new ApiError(kindOf(status), { status, reason: typeof said === "string" ? said.replace(/^webchat: /, "") : "", retryAfter, data });
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

/** The bytes of a file that an answer carries. */
export async function fetchFile(path) {
  const own = key.get();
  let response;
  try {
    response = await fetch(path, {
      headers: { "x-requested-with": "assistant", ...(own ? { authorization: `Bearer ${own}` } : {}) },
      cache: "no-store",
      credentials: own ? "omit" : "same-origin",
      referrerPolicy: "no-referrer",
    });
  } catch {
    throw new ApiError("offline");
  }
  if (!response.ok) throw failed(response.status, parse(await response.text()), Number(response.headers.get("retry-after")) || 0);
  return response.blob();
}

/** Sends a file's bytes; `onProgress` hears the part of them, 0 to 1, that has gone out. `signal` ends it. */
export function upload(path, file, onProgress = () => {}, signal = null) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest(); // fetch tells nothing about what has been sent
    call.open("PUT", path);
    call.timeout = 120_000;
    call.setRequestHeader("content-type", "application/octet-stream");
    call.setRequestHeader("x-requested-with", "assistant");
    if (key.get()) call.setRequestHeader("authorization", `Bearer ${key.get()}`);
    call.upload.onprogress = (event) => { if (event.lengthComputable) onProgress(event.loaded / event.total); };
    call.onerror = () => reject(new ApiError("offline"));
    call.ontimeout = () => reject(new ApiError("timeout"));
    call.onabort = () => reject(new ApiError("offline"));
    signal?.addEventListener("abort", () => call.abort());
    call.onload = () => {
      const data = parse(call.responseText);
      if (call.status >= 200 && call.status < 300) resolve(data ?? {});
      else reject(failed(call.status, data, Number(call.getResponseHeader("retry-after")) || 0));
    };
    call.send(file);
  });
}

export const api = {
  get: (path, options) => request("GET", path, options),
  post: (path, body, options) => request("POST", path, { body, ...options }),
  put: (path, body, options) => request("PUT", path, { body, ...options }),
  remove: (path, options) => request("DELETE", path, options),

  send: (message) => request("POST", `/api/conversations/${encodeURIComponent(message.conversation)}/messages`, { body: message }),
  turns: (conversation, after, options) =>
    request("GET", `/api/conversations/${encodeURIComponent(conversation)}/turns${after ? `?after=${encodeURIComponent(after)}` : ""}`, options),
  health: () => request("GET", "/health", { withKey: false, seconds: 8 }),
};
