// Microsoft's own parser of the Kusto query language: a JSON list of queries on stdin, what it finds wrong on stdout.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;
const { DatabaseSymbol, ScalarTypes, TableSymbol } = Symbols;
const column = (name, type) => new Symbols.ColumnSymbol(name, type, null, null, null, null);
// The columns that a query of ours may use: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apptraces
const columns = [column("TimeGenerated", ScalarTypes.DateTime), column("Message", ScalarTypes.String)];
const workspace = new DatabaseSymbol("workspace", [new TableSymbol.$ctor6("AppTraces", columns, null)]);
const globals = GlobalState.Default.WithDatabase(workspace);

const found = [];
for (const query of JSON.parse(await text(process.stdin))) {
  const diagnostics = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  for (let at = 0; at < diagnostics.Count; at++) {
    found.push(`${diagnostics.getItem(at).Message} ${query}`);
  }
}
console.log(JSON.stringify(found));
