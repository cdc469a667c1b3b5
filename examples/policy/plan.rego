# What a plan may do, as policy over `reconciler plan --json`.
#
#   reconciler plan --out next.plan.json
#   conftest test --policy examples/policy next.plan.json
#
# Rules in reconciler.yaml do the same without another tool, and are checked again at apply.
package main

import rego.v1

banned := {"block", "unblock"}

# A layout that this policy does not know must not slip through.
deny contains message if {
	not startswith(input.format_version, "1.")
	message := sprintf("format_version %v is not known to this policy", [input.format_version])
}

# Every ban names a ticket.
deny contains message if {
	some action in input.actions
	action.action == "block"
	action.reason == "ban_declared"
	not has_ticket(action)
	message := sprintf("%v:%v: the ban of %v names no ticket", [
		action.source.file,
		action.source.line,
		action.address,
	])
}

has_ticket(action) if {
	some change in action.changes
	change.path == "banned.ticket"
	regex.match("^TS-[0-9]+$", change.after)
}

# Service accounts are not banned.
deny contains message if {
	some action in input.actions
	action.action == "block"
	startswith(action.account_id, "svc-")
	message := sprintf("%v is a service account of %v", [action.address, action.provider])
}

# Of what is recorded at most a twentieth is touched at once.
deny contains message if {
	input.recorded > 20
	touched := {action.address | some action in input.actions; action.action != "create"}
	count(touched) * 20 > input.recorded
	message := sprintf("the plan touches %v of %v recorded accounts", [
		count(touched),
		input.recorded,
	])
}

# Tokens come from the vault only.
deny contains message if {
	some action in input.actions
	some change in action.changes
	change.path == "token"
	change.sensitive
	from := object.get(change.token, "from", "")
	from != ""
	not startswith(from, "env:IM_TOKEN_")
	message := sprintf("the token of %v comes from %v", [action.address, from])
}

# Somebody should look at who has to approve, and at what waits.
warn contains message if {
	some approval in input.approvals
	message := sprintf("rule %v wants %v for %v accounts", [
		approval.rule,
		approval.groups,
		count(approval.addresses),
	])
}

warn contains message if {
	some finding in input.diagnostics
	finding.severity == "warning"
	message := sprintf("%v: %v", [finding.id, finding.summary])
}

warn contains message if {
	input.summary.forget + input.summary.block > 0
	not input.refreshed
	message := "the plan blocks or forgets and was made without --refresh"
}
