resource "aws_vpc" "this" {
  cidr_block           = local.network.aws_subnet
  enable_dns_hostnames = true

  tags = { Name = local.name }
}

data "aws_availability_zones" "available" {
  state = "available"
}

resource "aws_subnet" "hosts" {
  vpc_id            = aws_vpc.this.id
  cidr_block        = local.network.aws_subnet
  availability_zone = data.aws_availability_zones.available.names[0]
  # Without a public address, hosts could not fetch Debian's packages. Security groups let in nobody but operators.
  map_public_ip_on_launch = true

  tags = { Name = local.name }

  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = local.name }
}

resource "aws_route_table" "hosts" {
  vpc_id = aws_vpc.this.id

  tags = { Name = local.name }
}

# A resource of its own, so that a route to operators' networks may be added.
resource "aws_route" "out" {
  route_table_id         = aws_route_table.hosts.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "hosts" {
  subnet_id      = aws_subnet.hosts.id
  route_table_id = aws_route_table.hosts.id
}
