"""The words of the Open Data Contract Standard, v3.0 to v3.2: keys that may be written."""

TYPES = (
    "string",
    "date",
    "timestamp",
    "time",
    "number",
    "integer",
    "object",
    "array",
    "boolean",
)
OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
OPTIONS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
)
IGNORED_OPTIONS = {
    "format", "timezone", "defaultTimezone", "required",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
}  # fmt: skip
ELEMENT = {
    "id", "name", "physicalType", "description", "businessName", "deprecated", "synonyms",
    "authoritativeDefinitions", "tags", "customProperties", "logicalType", "physicalName",
    "relationships", "quality", "context",
}  # fmt: skip
TABLE = ELEMENT | {"dataGranularityDescription", "properties"}
PROPERTY = ELEMENT | {
    "primaryKey", "primaryKeyPosition", "logicalTypeOptions", "required", "unique",
    "semanticType",
    "partitioned", "partitionKeyPosition", "classification", "encryptedName",
    "transformSourceObjects", "transformLogic", "transformDescription", "examples", "enum",
    "criticalDataElement", "items", "properties",
}  # fmt: skip
QUALITY = {
    "id", "authoritativeDefinitions", "businessImpact", "customProperties", "description",
    "dimension",
    "method", "name", "schedule", "scheduler", "severity", "tags", "type", "unit",
    "metric", "rule", "arguments", "query", "engine", "implementation", *OPERATORS,
}  # fmt: skip
ROOT = {
    "version", "kind", "apiVersion", "id", "name", "tenant", "tags", "status", "servers",
    "dataProduct", "description", "domain", "context", "schema", "support", "price", "team",
    "roles", "slaDefaultElement", "slaProperties", "authoritativeDefinitions",
    "customProperties", "contractCreatedTs",
}  # fmt: skip
#: What says of a property that it is about a person: the standard has no key of its own for
#: it. As its ``classification``, among its ``tags``, or as the name of a ``customProperties``
#: entry whose value is true.
PERSONAL = {
    "pii", "personal", "personal data", "personally identifiable", "sensitive",
    "sensitive personal data", "special category", "phi", "gdpr",
}  # fmt: skip
METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
