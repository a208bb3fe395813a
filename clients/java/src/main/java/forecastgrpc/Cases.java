package forecastgrpc;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The conformance cases: read, and compared with. */
final class Cases {
  private Cases() {}

  /** A case with its rules expanded; what it does not name is empty, an answer or error that is not to come null. */
  record Case(
      String group,
      String name,
      String rpc,
      String service,
      String only,
      Map<String, String> metadata,
      JsonElement request,
      JsonArray requests,
      List<String> ignore,
      Map<String, String> trailing,
      JsonElement reply,
      JsonElement error) {
    Case {
      service = service == null ? "standard" : service;
      only = only == null ? "" : only;
      metadata = metadata == null ? Map.of() : metadata;
      request = request == null ? new JsonObject() : request;
      ignore = ignore == null ? List.of() : ignore;
      trailing = trailing == null ? Map.of() : trailing;
    }
  }

  static List<Case> read(Path file) throws IOException {
    JsonObject document = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
    JsonObject definitions = document.getAsJsonObject("definitions");
    List<Case> cases = new ArrayList<>();
    for (JsonElement each : document.getAsJsonArray("cases")) {
      cases.add(new Gson().fromJson(expanded(each, definitions), Case.class));
    }
    return cases;
  }

  /** A value with what the rules use, join and repeat stand for in their place. */
  private static JsonElement expanded(JsonElement value, JsonObject definitions) {
    if (value.isJsonArray()) {
      JsonArray items = new JsonArray();
      value.getAsJsonArray().forEach(item -> items.add(expanded(item, definitions)));
      return items;
    }
    if (!value.isJsonObject()) {
      return value;
    }
    JsonObject fields = new JsonObject();
    value.getAsJsonObject().entrySet().forEach(e -> fields.add(e.getKey(), expanded(e.getValue(), definitions)));
    if (fields.has("use")) {
      return definitions.get(fields.get("use").getAsString());
    }
    if (fields.has("join")) {
      StringBuilder whole = new StringBuilder();
      fields.getAsJsonArray("join").forEach(text -> whole.append(text.getAsString()));
      return new JsonPrimitive(whole.toString());
    }
    return fields.has("repeat") ? repeated(fields.getAsJsonArray("repeat"), fields.get("times").getAsInt()) : fields;
  }

  private static JsonArray repeated(JsonArray items, int times) {
    JsonArray all = new JsonArray(items.size() * times);
    for (int i = 0; i < times; i++) {
      all.addAll(items);
    }
    return all;
  }

  /** Where two trees first differ, doubles by their bits; empty where they are the same. */
  static String difference(String path, JsonElement wanted, JsonElement got) {
    if (wanted instanceof JsonArray all && got instanceof JsonArray some) {
      return differentItems(path, all, some);
    }
    if (wanted instanceof JsonObject all && got instanceof JsonObject some) {
      Set<String> keys = new TreeSet<>(all.keySet());
      keys.addAll(some.keySet());
      return keys.stream()
          .map(key -> difference(path + "." + key, all.get(key), some.get(key)))
          .filter(found -> !found.isEmpty())
          .findFirst()
          .orElse("");
    }
    return same(wanted, got) ? "" : "%s: %.200s instead of %.200s".formatted(path, got, wanted);
  }

  private static String differentItems(String path, JsonArray wanted, JsonArray got) {
    if (wanted.size() != got.size()) {
      return "%s: %d items instead of %d".formatted(path, got.size(), wanted.size());
    }
    for (int i = 0; i < wanted.size(); i++) {
      String found = difference(path + "[" + i + "]", wanted.get(i), got.get(i));
      if (!found.isEmpty()) {
        return found;
      }
    }
    return "";
  }

  private static boolean same(JsonElement wanted, JsonElement got) {
    if (wanted instanceof JsonPrimitive a && got instanceof JsonPrimitive b && a.isNumber() && b.isNumber()) {
      return Double.doubleToRawLongBits(a.getAsDouble()) == Double.doubleToRawLongBits(b.getAsDouble());
    }
    return wanted != null && wanted.equals(got);
  }
}
