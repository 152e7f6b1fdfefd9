variable "name" {
  description = "What the names of all resources begin with."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "The public subnets, in two zones at least."
  type        = list(string)
}

variable "client_cidrs" {
  description = "The networks that may connect."
  type        = set(string)

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrhost(cidr, 0))])
    error_message = "client_cidrs must be networks such as 203.0.113.0/24."
  }
}

variable "ports" {
  description = "The ports that its listeners have."
  type        = set(number)
}

variable "target_port" {
  description = "The port of what it leads to, in the same network."
  type        = number
}

variable "protect" {
  description = "Whether it can be deleted only after this was unset."
  type        = bool
}
