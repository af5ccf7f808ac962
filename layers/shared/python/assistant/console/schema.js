// A form drawn from a JSON Schema: `form(schema, value)` gives its nodes and a way to read it back.

import { el } from "./dom.js";
import { area, checkbox, field, refuse, select, textInput } from "./ui.js";
import { addWords, currentLanguage, t } from "./words.js";

addWords({
  en: { schema_lines: "One on each line.", schema_json: "As JSON.", schema_unset: "(not set)", schema_needed: "needed", schema_no_number: "{name}: this is no number.", schema_no_json: "{name}: this is no JSON.", schema_missing: "{name} is needed.", schema_range: "From {least} to {most}." },
  "zh-CN": { schema_lines: "每行一个。", schema_json: "JSON 格式。", schema_unset: "（未设置）", schema_needed: "必填", schema_no_number: "{name}：不是数字。", schema_no_json: "{name}：不是 JSON。", schema_missing: "{name}为必填项。", schema_range: "从 {least} 到 {most}。" },
});

/** {nodes, read()}: the fields of an object's schema. `read` throws words for a value that cannot be. */
export function form(schema, value = {}, defs = schema.$defs ?? {}) {
  const parts = Object.entries(schema.properties ?? {}).map(([name, given]) => part(name, given, value?.[name], (schema.required ?? []).includes(name), defs));
  return { nodes: parts.map((p) => p.node), read: () => Object.fromEntries(parts.map((p) => [p.name, p.read()]).filter(([, found]) => found !== undefined)) };
}

/** With a capital at its beginning and a stop at its end. */
const sentence = (text) => (text ? (currentLanguage() === "en" ? text[0].toUpperCase() + text.slice(1) : text) + (/[.!?。！？]$/.test(text) ? "" : currentLanguage() === "en" ? "." : "。") : "");

/** The schema behind references and "or nothing". */
function plain(given, defs) {
  if (given.$ref) return { ...plain(defs[given.$ref.split("/").at(-1)] ?? {}, defs), ...given, $ref: undefined };
  if (given.allOf?.length === 1) return { ...plain(given.allOf[0], defs), ...given, allOf: undefined };
  const others = given.anyOf?.filter((option) => option.type !== "null");
  if (others && others.length < given.anyOf.length && others.length === 1) return { ...plain(others[0], defs), ...given, anyOf: undefined, optional: true };
  return given;
}

function part(name, given, value, required, defs) {
  const schema = plain(given, defs);
  const title = `${schema.title ?? name}${required ? ` (${t("schema_needed")})` : ""}`;
  const current = value ?? schema.default;
  const about = (...more) => [sentence(schema.description), ...more].filter(Boolean).join(currentLanguage() === "en" ? " " : "");
  const missing = () => refuse(t("schema_missing", { name: schema.title ?? name }));
  if (schema.enum) {
    const options = schema.enum.map((option) => [JSON.stringify(option), option === "" ? t("schema_unset") : String(option)]);
    const control = select(required || schema.enum.includes("") ? options : [["", t("schema_unset")], ...options], current === undefined || current === null ? "" : JSON.stringify(current));
    return { name, node: field(title, control, about()), read: () => (control.value ? JSON.parse(control.value) : undefined) };
  }
  if (schema.type === "boolean") {
    const control = checkbox(title, Boolean(current));
    return { name, node: el("div", { class: "one-field" }, control, schema.description ? el("span", { class: "muted small" }, sentence(schema.description)) : null), read: () => control.box.checked };
  }
  if (schema.type === "integer" || schema.type === "number") {
    const least = schema.minimum ?? schema.exclusiveMinimum;
    const most = schema.maximum ?? schema.exclusiveMaximum;
    const control = textInput(current ?? "", { type: "number", step: schema.type === "integer" ? "1" : "any", min: least, max: most });
    const read = () => {
      const text = control.value.trim();
      if (!text && control.validity.badInput) throw refuse(t("schema_no_number", { name: schema.title ?? name }));
      if (!text) {
        if (required) throw missing();
        return schema.optional ? null : undefined;
      }
      return Number(text);
    };
    return { name, node: field(title, control, about(least !== undefined && most !== undefined ? t("schema_range", { least, most }) : "")), read };
  }
  if (schema.type === "string") {
    const long = (schema.maxLength ?? 0) > 200 || String(current ?? "").includes("\n");
    const control = long ? area(current ?? "") : textInput(current ?? "", { type: schema.format === "uri" ? "url" : schema.format === "password" || schema.writeOnly ? "password" : "text", maxlength: schema.maxLength ?? null });
    const read = () => {
      if (!control.value && required) throw missing();
      return control.value || (schema.optional ? null : "");
    };
    return { name, node: field(title, control, about()), read };
  }
  if (schema.type === "array" && plain(schema.items ?? {}, defs).type === "string") {
    const control = area((current ?? []).join("\n"));
    return { name, node: field(title, control, about(t("schema_lines"))), read: () => control.value.split("\n").map((line) => line.trim()).filter(Boolean) };
  }
  if (schema.type === "object" && schema.properties) {
    const inner = form(schema, current ?? {}, defs);
    return { name, node: el("fieldset", { class: "group" }, el("legend", {}, title), schema.description ? el("p", { class: "muted small" }, sentence(schema.description)) : null, inner.nodes), read: inner.read };
  }
  const control = area(current === undefined ? "" : JSON.stringify(current, null, 2), { class: "line mono" });
  const read = () => {
    if (!control.value.trim()) return undefined;
    try {
      return JSON.parse(control.value);
    } catch {
      throw refuse(t("schema_no_json", { name: schema.title ?? name }));
    }
  };
  return { name, node: field(title, control, about(t("schema_json"))), read };
}
