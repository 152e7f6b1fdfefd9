variable "name" {
  description = "What the names of all resources begin with."
  type        = string
}

variable "cidr" {
  description = "The network's addresses, as CIDR of 16 to 20 bits; a sixteenth of them goes to each subnet."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.cidr)[1]), 99) <= 20
    error_message = "cidr must be a network such as 10.20.0.0/16, of 16 to 20 bits."
  }
}

variable "zones" {
  description = "Two availability zones of the region, such as eu-central-1a and eu-central-1b."
  type        = list(string)

  validation {
    condition     = length(distinct(var.zones)) == 2 && length(var.zones) == 2
    error_message = "zones must be two different availability zones."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts the flow logs."
  type        = string
}
