resource "aws_security_group" "service" {
  for_each = toset(module.cloud.security_groups)

  name        = "${local.name}-${each.key}"
  description = "Hosts of group ${each.key}"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "opening" {
  for_each = module.cloud.openings

  security_group_id            = aws_security_group.service[each.value.to].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.first_port
  to_port                      = each.value.last_port
  cidr_ipv4                    = each.value.from == "operators" ? var.operator_cidr : null
  referenced_security_group_id = each.value.from == "operators" ? null : aws_security_group.service[each.value.from].id
}

# Hosts fetch Debian's packages; each host is in one of these groups.
resource "aws_vpc_security_group_egress_rule" "everywhere" {
  for_each = aws_security_group.service

  security_group_id = each.value.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}
