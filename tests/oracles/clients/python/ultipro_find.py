"""Logs in and finds people with the published client `ultipro`, unchanged but for the host.

It asks for the WSDL of LoginService at the bare path, for that of EmployeePerson at a path with `//`, and writes the token headers itself.
"""

import os

import zeep
from ultipro.client import UltiProClient
from ultipro.services import employee_person, login

client = UltiProClient(
    os.environ["USERNAME"],
    os.environ["PASSWORD"],
    os.environ["CUSTOMER_API_KEY"],
    os.environ["USER_API_KEY"],
    os.environ["BASE"] + "/",
)
login.authenticate(client)
found = employee_person.find_people(client, {"PageSize": "2", "LastName": "LIKE (%wick)"})
names = ",".join(person.LastName for person in found.EmployeePerson)
client.session_header.UltiProToken = "no-token"
try:
    employee_person.find_people(client, {})
    refused = "taken"
except zeep.exceptions.Fault as fault:
    refused = fault.message
print(f"{names}; a wrong token: {refused}")
